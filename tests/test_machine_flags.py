"""--threads, --profile and --gpu-steps of the scripts that write motions and train."""

import json
from argparse import Namespace

import pytest
import torch

from motiongpt.cli.machine_flags import add_gpu_steps_flag, on_this_machine, set_gpu_steps
from motiongpt.cli.parser import Parser
from motiongpt.config import LLM_PRESETS
from motiongpt.decoding import DecodingLLM
from motiongpt.llm import LLM


def of(**flags) -> Namespace:
    return Namespace(**({"threads": None, "profile": None} | flags))


def test_threads_hold_for_the_script_and_are_put_back():
    before = torch.get_num_threads()
    seen = []
    on_this_machine(lambda args: seen.append(torch.get_num_threads()))(of(threads=before + 1))
    with pytest.raises(OSError):
        on_this_machine(lambda args: open("/nowhere/at/all"))(of(threads=before + 1))
    assert seen == [before + 1] and torch.get_num_threads() == before
    with pytest.raises(ValueError, match="--threads must be at least 1, got 0"):
        on_this_machine(lambda args: None)(of(threads=0))


def test_a_profile_is_a_trace_and_the_top_ten(tmp_path, capsys):
    def main(args) -> int:
        torch.randn(64, 64) @ torch.randn(64, 64)
        return 3

    assert on_this_machine(main)(of(profile=tmp_path / "new", max_steps=2)) == 3
    events = json.loads((tmp_path / "new" / "trace.json").read_text())["traceEvents"]
    assert any(event.get("name") == "aten::mm" for event in events)
    assert "aten::mm" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [None, 0, 201])
def test_a_training_is_profiled_for_a_few_steps_only(tmp_path, steps):
    with pytest.raises(ValueError, match="--max-steps of at most 200"):
        on_this_machine(lambda args: None)(of(profile=tmp_path, max_steps=steps))


def test_of_several_processes_the_first_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    on_this_machine(lambda args: None)(of(profile=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_gpu_steps_are_for_models_with_steps_on_a_gpu():
    parser = Parser("A script.")
    add_gpu_steps_flag(parser)
    without, given = parser.parse_args([]), parser.parse_args(["--gpu-steps", "recorded"])
    model, cpu, cuda = DecodingLLM(LLM(LLM_PRESETS["tiny"])), torch.device("cpu"), torch.device("cuda", 0)
    set_gpu_steps(without, model, cuda)
    set_gpu_steps(without, model.llm, cpu)
    with pytest.raises(ValueError, match="the model is on cpu"):
        set_gpu_steps(given, model, cpu)
    with pytest.raises(ValueError, match="this run's is a T5"):
        set_gpu_steps(given, model.llm, cuda)
    assert model.steps == "plain"
    set_gpu_steps(given, model, cuda)
    assert model.steps == "recorded"
