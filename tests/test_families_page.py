"""docs/FAMILIES.md is true: its table has every family, and the row it tells people to add works."""

import re
from pathlib import Path

import pytest

pytest.importorskip("transformers")
import test_parity  # noqa: E402
import transformers  # noqa: E402

from motiongpt.weights import hf_config  # noqa: E402
from motiongpt.weights.wrong_folders import SUPPORTED  # noqa: E402

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "FAMILIES.md").read_text(encoding="utf-8")
LARGEST_ERROR = test_parity.LARGEST_ERROR


def test_the_table_has_every_family():
    kinds = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| ")]
    named = {kind for column in kinds for kind in re.findall(r"`(\w+)`", column)}
    assert named - {"model_type"} == {*SUPPORTED, "clip", "clip_text_model"}


def test_the_row_of_the_example_is_all_it_takes(monkeypatch, tmp_path):
    row = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "Family(" in block)
    monkeypatch.setitem(hf_config.FAMILIES, "mistral", None)  # taken out again afterwards
    exec(row, {"FAMILIES": hf_config.FAMILIES, "Family": hf_config.Family})
    shape = test_parity.SHAPE | test_parity.heads(4, 2, head_dim=16, sliding_window=None)
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.MistralConfig(**shape))
    errors = test_parity.measure_decoder(test_parity.randomise(theirs), tmp_path)
    assert max(errors.values()) < LARGEST_ERROR, errors
    with pytest.raises(ValueError, match="sliding_window 4096 is not supported for mistral"):
        hf_config.llm_config_from_hf({"model_type": "mistral", "sliding_window": 4096})
