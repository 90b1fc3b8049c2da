"""A hundred damaged copies of every file that has no reader of its own: arrays, texts, tables of captions, tokens."""

import json

import numpy as np
import pytest
from cases import for_each
from mutations import check_mutations

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.motions import read_ids
from motiongpt.data.prepare.array_folders import load_raw_joints
from motiongpt.data.prepare.caption_table import read_captions
from motiongpt.data.prepare.explain import explain
from motiongpt.data.prepare.options import Options
from motiongpt.data.texts import parse_captions
from motiongpt.data.tokens import load_tokens
from motiongpt.features.normalizer import Normalizer
from motiongpt.files.arrays import load_array

ROWS = [{"id": f"clip{i}", "caption": f"he walks {i} steps", "participant": "P1", "split": "val"} for i in range(9)]
ENTRIES = [{"text_query": f"he walks {i}", "motion_tokens": "1 22 333", "participant_id": "P1"} for i in range(9)]


def csv(rows):
    return "\n".join(",".join(row) for row in [rows[0].keys(), *(row.values() for row in rows)])


def test_joints_and_features(tmp_path):
    for source, skeleton, shape in (("joints", HUMANML3D, (20, 22, 3)), ("humanml3d", HUMANML3D, (20, 263)),
                                    ("kit-ml", KIT, (20, 251))):  # fmt: skip
        path = tmp_path / f"{source}.npy"
        np.save(path, np.random.default_rng(0).normal(size=shape).astype(np.float32))

        def read(path=path, skeleton=skeleton, width=shape[1], is_joints=source == "joints"):
            return load_raw_joints(path, skeleton) if is_joints else load_array(path, 2, width)

        def explained(refused, source=source, path=path, skeleton=skeleton):
            lines, code = explain(source, path, Options(skeleton))
            return lines and "\n" not in "".join(lines) and code in ((1,) if refused else (0, 1))

        check_mutations(path, read, explained, head=128)


@for_each(
    "name, text, read, least",
    [
        ("a.txt", "he walks#he/PRON walk/VERB#0.0#2.5\n" * 5, parse_captions, 5),
        ("train.txt", "000001\nM000001\n" * 20, read_ids, 5),
        ("a.csv", csv(ROWS), read_captions, 5),
        ("a.json", json.dumps(ROWS), read_captions, 25),
        ("tokens.json", json.dumps(ENTRIES), load_tokens, 25),
        ("a_instructions.json", json.dumps([{"instruction": "x", "input": "he walks", "output": "1,2"}] * 5),
         load_tokens, 25),
    ],
)  # fmt: skip
def test_texts_and_tables(tmp_path, name, text, read, least):
    path = tmp_path / name
    path.write_text(text)
    check_mutations(path, lambda: read(path), least=least)


def test_folders_of_codes(tmp_path):
    (tmp_path / "codes").mkdir()
    (tmp_path / "texts").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "codes" / f"{name}.npy", np.arange(40))
        (tmp_path / "texts" / f"{name}.txt").write_text("he walks\n")
    check_mutations(tmp_path / "codes" / "a.npy", lambda: load_tokens(tmp_path, say=lambda _: None), head=128)


def test_statistics(tmp_path):
    Normalizer(np.zeros(263), np.ones(263)).save(tmp_path)
    check_mutations(tmp_path / "Std.npy", lambda: Normalizer.load(tmp_path), names=tmp_path, head=128)


def test_a_count_that_no_memory_holds_is_a_bad_file(tmp_path):
    """2e11 frames in 5 kB: refused as the other bad files are, not as the end of a whole build."""
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2 * 10**11, 22, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(5000))
    with pytest.raises(ValueError, match="a.npy is not a readable .npy array"):
        load_array(path, 3)
