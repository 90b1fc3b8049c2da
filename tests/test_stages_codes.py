"""Token data that uses fewer codes than its tokenizer has: the run learns all of them."""

import numpy as np
import pytest
from test_stages_origin import FEW, data_of

from motiongpt.data.tokens import load_tokens
from motiongpt.stages.run_folder import RunConfig


def code_folder(tiny, folder, below: int):
    """VQVAE/ID.npy and texts/ID.txt as T2M-GPT writes them, of the tiny entries with small codes; no meta file."""
    for name in ("VQVAE", "texts"):
        (folder / name).mkdir(parents=True)
    ids = {"train": [], "val": []}
    for i, entry in enumerate(load_tokens(tiny.data)):
        if max(entry.codes) < below and entry.split in ids:
            np.save(folder / "VQVAE" / f"{i:06}.npy", np.array([entry.codes]))
            (folder / "texts" / f"{i:06}.txt").write_text(f"{entry.text}#a/DET#0.0#0.0\n")
            ids[entry.split].append(f"{i:06}")
    ids["val"] = ids["val"] or [ids["train"].pop()]
    for split, names in ids.items():
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["folder", "json"])
def test_a_codebook_is_the_tokenizers(script, tiny, tmp_path, kind):
    data = code_folder(tiny, tmp_path / "d", 25) if kind == "folder" else data_of(tiny, tmp_path / "d.json", below=25)
    assert max(max(entry.codes) for entry in load_tokens(data, say=lambda _: None)) < 25
    command = ("finetune", "--backbone", tiny.backbone, "--out", tmp_path / "run", *FEW)
    done = script(*command, "--stage", 1, "--data", data, "--vqvae", tiny.vqvae)
    assert done.code == 0, done.err
    assert f"codebook of 32 ({tiny.vqvae})" in done.out and RunConfig.read(tmp_path / "run").codes == 32
    # the second stage has other codes, and more of them
    assert max(max(entry.codes) for entry in load_tokens(tiny.data)) >= 25
    more = data_of(tiny, tmp_path / "all.json", participant=None) if kind == "folder" else tiny.data
    done = script(*command, "--stage", 2, "--data", more)
    assert done.code == 0, done.err
    done = script(
        "finetune", "--backbone", tiny.backbone, "--out", tmp_path / "other", *FEW, "--stage", 1, "--data", data
    )
    assert done.code == 0 and "(largest code + 1)" in done.out  # nobody says more
