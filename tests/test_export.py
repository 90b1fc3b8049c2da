"""scripts/export.py: what it writes is what it was given, and it overwrites nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from motiongpt.body.skeletons import MYOSKELETON
from motiongpt.config import VQVAEConfig
from motiongpt.data.token_formats import write_instructions
from motiongpt.data.tokens import codebook_size, load_tokens
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.files.store import read_json
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vqvae import VQVAE
from motiongpt.weights.vqvae import load_vqvae, save_t2m_gpt


def test_t2m_gpt(script, tiny, tmp_path):
    """Codebook and weights come back exactly, and so do codes and motions; a run's own tokenizer is found too."""
    done = script("export", "--vqvae", tiny.vqvae, "--format", "t2m-gpt", "--out", tmp_path / "deep" / "x.pth")
    assert done.code == 0, done.err
    assert "--nb-code 32 --code-dim 16 --output-emb-width 16 --width 16 --depth 1 --down-t 2" in done.out
    ours, back = MotionTokenizer.load(tiny.vqvae).vqvae, load_vqvae(tmp_path / "deep" / "x.pth")
    theirs = back.state_dict()
    for name, value in ours.state_dict().items():
        if name.split(".")[-1] not in ("code_sum", "code_count", "ready"):  # the layout has no place for them
            assert torch.equal(value, theirs[name]), name
    motion, lengths = torch.randn(2, 40, 263), torch.tensor([40, 18])
    codes = ours.encode(motion, lengths)
    assert torch.equal(back.encode(motion, lengths), codes)
    assert torch.equal(back.decode(codes, lengths // 4), ours.decode(codes, lengths // 4))
    assert back.config == ours.config
    assert script("export", "--vqvae", tiny.run, "--format", "t2m-gpt", "--out", tmp_path / "run.pth").code == 0


def test_mistakes_end_in_one_line(script, tiny, tmp_path):
    there = tmp_path / "x.pth"
    there.write_text("mine")
    for args, message in [
        (("--vqvae", tiny.vqvae, "--format", "t2m-gpt", "--out", there), "x.pth is there already"),
        (("--format", "t2m-gpt", "--out", tmp_path / "y.pth"), "--format t2m-gpt needs --vqvae"),
        (("--format", "instructions", "--out", tmp_path / "y"), "--format instructions needs --data"),
        (("--format", "instructions", "--data", tiny.data, "--vqvae", tiny.vqvae, "--out", "y"), "--vqvae has no mean"),
        (("--format", "t2m-gpt", "--data", tiny.data, "--vqvae", tiny.vqvae, "--out", "y"), "--data has no meaning"),
        (("--vqvae", tmp_path, "--format", "t2m-gpt", "--out", tmp_path / "y.pth"), "holds no tokenizer"),
    ]:
        done = script("export", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert there.read_text() == "mine" and not (tmp_path / "y.pth").exists()


def test_instructions_read_back(script, tiny, tmp_path):
    """The form of Zhang et al.: four rows per caption, and our reader finds every entry again."""
    done = script("export", "--format", "instructions", "--data", tiny.data, "--out", tmp_path / "zhang")
    assert done.code == 0, done.err
    assert "144 rows in train.json, 16 rows in val.json" in done.out and not (tmp_path / "zhang" / "test.json").exists()
    own = load_tokens(tiny.data)
    counted = []
    back = load_tokens(tmp_path / "zhang", say=counted.append)
    assert sorted(back, key=str) == sorted(own, key=str) and len(counted) == 2
    assert codebook_size(back, tmp_path / "zhang", None) == (32, "tokens.meta.json")
    first = read_json(tmp_path / "zhang" / "train.json", list)[:4]
    text, codes = own[0].text, [str(code) for code in own[0].codes]
    begin = "Generate a sequence of motion tokens matching the following human motion description"
    ends = (".", " given the initial token.", " given the last token.", " given several key tokens.")
    assert [row["instruction"] for row in first] == [begin + end for end in ends]
    assert {row["output"] for row in first} == {",".join(codes)}
    assert [row["input"] for row in first[:3]] == [
        text, f"{text}<Motion Token>{codes[0]}</Motion Token>", f"{text}<Motion Token>{codes[-1]}</Motion Token>"
    ]  # fmt: skip
    keys = first[3]["input"].removeprefix(f"{text}<Motion Token>").removesuffix("</Motion Token>").split(",")
    rest = iter(codes)
    assert 3 <= len(keys) <= 5 and all(key in rest for key in keys)  # in their order
    assert all(row["motion"] == own[0].id and row["length"] == len(codes) for row in first)
    # the same data, the same bytes
    script("export", "--format", "instructions", "--data", tmp_path / "zhang", "--out", tmp_path / "again")
    for name in ("train.json", "val.json", "tokens.meta.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "zhang" / name).read_bytes()


def test_instructions_of_short_and_odd_clips(tmp_path):
    record = {"text_query": "a", "motion_tokens": "7", "id": "x", "split": "test"}
    assert write_instructions(tmp_path / "a", [record], {}) == {"train": 0, "val": 0, "test": 4}
    assert read_json(tmp_path / "a" / "test.json", list)[3]["input"] == "a<Motion Token>7</Motion Token>"
    with pytest.raises(ValueError, match="holds <Motion Token>"):
        write_instructions(tmp_path / "b", [record | {"text_query": "a <Motion Token>1</Motion Token>"}], {})
    with pytest.raises(FileExistsError):
        write_instructions(tmp_path / "a", [record], {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


DEMO = Path(__file__).resolve().parents[1] / "checkpoints" / "demo" / "vqvae"


def test_an_exported_file_with_its_statistics_reads_back(script, tmp_path):
    """The two arrays are copied beside the file, as T2M-GPT has them, without our config.json."""
    own = MotionTokenizer.load(DEMO)
    assert own.normalizer.feature_bias(own.representation) != pytest.approx(25, rel=0.2)  # T2M-GPT's
    assert script("export", "--vqvae", DEMO, "--format", "t2m-gpt", "--out", tmp_path / "net_last.pth").code == 0
    assert set(torch.load(tmp_path / "net_last.pth")) == {"net", "motiongpt"}  # T2M-GPT reads "net"
    own.normalizer.save(tmp_path)
    back = MotionTokenizer.load(tmp_path / "net_last.pth", stats=tmp_path)
    assert (back.config, back.fps, back.skeleton) == (own.config, own.fps, own.skeleton)
    assert back.representation.name == own.representation.name and back.has_codes_of(own)
    codes = [[1, 5, 3], [7]]
    for ours, theirs in zip(own.decode(codes), back.decode(codes), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    own.normalizer.with_feature_bias(25, own.representation).save(tmp_path)
    with pytest.raises(ValueError, match="Std.npy is .*; expected .*"):
        MotionTokenizer.load(tmp_path / "net_last.pth", stats=tmp_path)


def test_any_representation_and_setting_reads_back(tmp_path):
    """Neither the activation nor the joints leave a trace in the tensors."""
    config = VQVAEConfig(
        feature_dim=84, joint_dim=0, codes=8, code_dim=8, width=8, depth=1, activation="silu", dilation_growth=2
    )
    representation = get_representation("positions", MYOSKELETON)
    normalizer = Normalizer(np.zeros(84), np.ones(84))
    own = MotionTokenizer(VQVAE(config), normalizer, MYOSKELETON, 30.0, representation)
    save_t2m_gpt(own.vqvae, tmp_path / "x.pth", own.facts())
    normalizer.save(tmp_path)
    back = MotionTokenizer.load(tmp_path / "x.pth", stats=tmp_path)
    assert (back.config, back.fps, back.skeleton) == (config, 30.0, MYOSKELETON)
    for ours, theirs in zip(own.decode([[1, 2, 3]]), back.decode([[1, 2, 3]]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
