"""What the scripts share: flags from configs, the origin of each value, the environment, and one-line errors."""

import argparse
import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import for_each

from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.environment import (
    HUB_VARIABLES,
    default_output,
    default_run,
    fill_from_environment,
    say_unread_environment,
    use_hub_token,
)
from motiongpt.cli.parser import (
    Parser,
    add_config_flags,
    command_for_stage,
    describe_values,
    refuse_flags,
    resolve_config,
    run_script,
)
from motiongpt.cli.prompts import folder_name
from motiongpt.config import LoRAConfig, SampleConfig, TrainConfig, VQVAEConfig


def parse(config, *args: str):
    parser = Parser("test")
    add_config_flags(parser, config)
    return parser.parse_args(args)


# 1) Values and their origins.


@for_each("config", [TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig])
def test_without_flags_a_config_is_its_defaults(config):
    values, origins = resolve_config(config, parse(config))
    assert values == config() and set(origins.values()) == {"default"}


@for_each("config", [TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig])
def test_every_field_survives_its_flag(config):
    """Each field given its own default as text comes back equal, with origin flag."""
    args = []
    for field in dataclasses.fields(config):
        value, name = field.default, field.name.replace("_", "-")
        if isinstance(value, bool):
            args.append(f"--{name}" if value else f"--no-{name}")
        else:
            args += [f"--{name}", *(value if isinstance(value, tuple) else [str(value)])]
    values, origins = resolve_config(config, parse(config, *args))
    assert values == config() and set(origins.values()) == {"flag"}


def test_recipe_below_config_below_flag():
    layers = (("recipe x", {"lr": 1.0, "batch_size": 2, "epochs": 3}), ("--config f", {"lr": 2.0, "batch_size": 4}))
    values, origins = resolve_config(TrainConfig, parse(TrainConfig, "--lr", "3"), *layers)
    assert (values.lr, values.batch_size, values.epochs) == (3.0, 4, 3)
    assert [origins[n] for n in ("lr", "batch_size", "epochs", "seed")] == ["flag", "--config f", "recipe x", "default"]
    text = describe_values(values, origins)
    assert text == "batch_size 4 (--config f), epochs 3 (recipe x), lr 3.0 (flag)"
    text, *_, defaults = describe_values(values, origins, every=True).partition("; default: ")
    assert "lr 3.0 (flag)" in text and "seed 42" in defaults and "lr" not in defaults.split()
    assert describe_values(TrainConfig(), dict.fromkeys(origins, "default")) == "TrainConfig: all default"


@for_each(
    "layers, flags, epochs, steps",
    [([{"epochs": 3.0}, {"max_steps": 250}], (), (3.0, "0"), (250, "1")),
     ([{"max_steps": 250}, {"epochs": 3.0}], (), (3.0, "1"), (0, "default")),
     ([{"max_steps": 250, "epochs": 2.0}], (), (2.0, "0"), (250, "0")),
     ([{"max_steps": 250}], ("--epochs", "3"), (3.0, "flag"), (0, "default")),
     ([{"max_steps": 250}, {"epochs": 3.0}], ("--max-steps", "7"), (3.0, "1"), (7, "flag")),
     ([{"max_steps": 250}, {"epochs": 3.0}, {"max_steps": 9}], (), (3.0, "1"), (9, "2"))],
)  # fmt: skip
def test_epochs_drop_the_steps_of_weaker_layers_only(layers, flags, epochs, steps):
    named = [(str(number), layer) for number, layer in enumerate(layers)]
    values, origins = resolve_config(TrainConfig, parse(TrainConfig, *flags), *named)
    assert (values.epochs, origins["epochs"]) == epochs and (values.max_steps, origins["max_steps"]) == steps


def test_a_layer_may_hold_the_fields_of_other_configs():
    values, _ = resolve_config(LoRAConfig, parse(LoRAConfig), ("recipe", {"lr": 1.0, "lora_r": 8}))
    assert values.lora_r == 8


@for_each(
    "config, layer",
    [(TrainConfig, {"lr": "fast"}), (TrainConfig, {"lr": None}), (TrainConfig, {"lr": float("nan")}),
     (TrainConfig, {"lr": float("inf")}), (TrainConfig, {"lr": True}), (TrainConfig, {"batch_size": 2.5}),
     (TrainConfig, {"batch_size": True}), (TrainConfig, {"schedule": 1}), (LoRAConfig, {"lora_targets": "q_proj"}),
     (LoRAConfig, {"lora_targets": [1]}), (TrainConfig, {"batch_size": [1]}), (SampleConfig, {"temperature": {}})],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named_with_its_origin(config, layer):
    name = "--" + next(iter(layer)).replace("_", "-")
    with pytest.raises(ValueError, match=rf"{name} must be .*\(--config f\)"):
        resolve_config(config, parse(config), ("--config f", layer))


def test_a_value_out_of_range_is_named_by_its_flag():
    with pytest.raises(ValueError, match="--batch-size must be at least 1, got 0"):
        resolve_config(TrainConfig, parse(TrainConfig, "--batch-size", "0"))


# 2) Config files.


def test_a_config_file_is_flat_or_a_runs_own(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"lr": 0.5, "lora_r": 4}')
    assert read_config_file(str(path)).settings == {"lr": 0.5, "lora_r": 4}
    run_config = {"RunConfig": {"recipe": "x", "codes": 9}, "TrainConfig": {"lr": 0.1}, "LoRAConfig": {"lora_r": 2}}
    path.write_text(json.dumps(run_config))
    assert read_config_file(str(path)).settings == {"lr": 0.1, "lora_r": 2}
    path.write_text(json.dumps(run_config | {"batch_size": 3}))
    assert read_config_file(str(path)).settings == {"lr": 0.1, "lora_r": 2, "batch_size": 3}
    path.write_text(json.dumps({"VQVAEConfig": {"width": 8}, "skeleton": "humanml3d-22", "fps": 20.0}))
    assert read_config_file(str(path)).settings == {"width": 8}
    assert read_config_file(None).settings == {}


@for_each(
    "content, message",
    [("{", "line 1"), ("[1]", "expected a JSON object, got list"), ("3", "expected a JSON object, got int"),
     ('{"learning_rate": 1}', "no setting is called learning_rate"), ('{"TrainConfig": 3}', "called TrainConfig"),
     ('{"TrainConfig": {"lora_r": 1}}', "called TrainConfig.lora_r"), ('{"skeleton": "x"}', "called skeleton"),
     ('{"TrainConfig": {"lr": 1}, "learning_rate": 1}', "called learning_rate"),
     ('{"lr": 1, // fast\n}', "not valid JSON")],
)  # fmt: skip
def test_a_config_file_that_is_none(tmp_path, content, message):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_config_file(str(path))
    assert "c.json" in str(error.value)


def test_a_config_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        read_config_file(str(tmp_path / "nothing.json"))


# 3) The environment.


def test_flags_not_given_come_from_the_environment_and_are_said(monkeypatch, capsys):
    monkeypatch.setenv("SOME_DATA", "a/b.json")
    monkeypatch.setenv("SOME_OUT", "elsewhere")
    monkeypatch.delenv("SOME_VQVAE", raising=False)
    args = argparse.Namespace(data=None, vqvae=None, out=Path("given"))
    fill_from_environment(args, data="SOME_DATA", vqvae="SOME_VQVAE", out="SOME_OUT")
    assert (args.data, args.vqvae, args.out) == (Path("a/b.json"), None, Path("given"))
    assert capsys.readouterr().out == "--data a/b.json (environment: SOME_DATA)\n"


def test_the_default_run_is_in_work_dir(monkeypatch, capsys):
    monkeypatch.delenv("WORK_DIR", raising=False)
    assert (default_run(), capsys.readouterr().out) == (Path("outputs/run"), "")
    monkeypatch.setenv("WORK_DIR", "w")
    assert default_run() == Path("w/outputs/run") and "WORK_DIR" in capsys.readouterr().out
    monkeypatch.setenv("WORK_DIR", "~/w")
    assert default_run() == Path.home() / "w/outputs/run"
    monkeypatch.setenv("SOME_DATA", "~/a.json")
    args = argparse.Namespace(data=None)
    fill_from_environment(args, data="SOME_DATA")
    assert args.data == Path.home() / "a.json"


def test_a_default_output_is_in_work_dir_and_that_is_said(monkeypatch, capsys):
    monkeypatch.delenv("WORK_DIR", raising=False)
    assert (default_output("x.json"), capsys.readouterr().out) == (Path("outputs/x.json"), "")
    monkeypatch.setenv("WORK_DIR", "w")
    assert default_output("x.json") == Path("w/outputs/x.json")
    assert capsys.readouterr().out == "outputs/x.json is in w (environment: WORK_DIR)\n"


# 4) How a script ends.


def end(monkeypatch, capsys, main, *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["tool.py", *args])
    with pytest.raises(SystemExit) as stop:
        run_script(main, Parser("What it is."))
    return stop.value.code, *capsys.readouterr()


def raising(error):
    def main(args):
        raise error

    return main


@pytest.mark.parametrize("value, code", [(None, 0), (0, 0), (3, 3)])
def test_exit_codes(monkeypatch, capsys, value, code):
    assert end(monkeypatch, capsys, lambda args: value) == (code, "", "")


@for_each(
    "error, line",
    [
        (ValueError("first line\nsecond line"), "first line"),
        (FileNotFoundError("x is missing"), "x is missing"),
        (FileNotFoundError(2, "No such file or directory", "x"), "[Errno 2] No such file or directory: 'x'"),
        (FileExistsError("y is there"), "y is there"),
        (FloatingPointError("not finite"), "not finite"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(monkeypatch, capsys, error, line):
    assert end(monkeypatch, capsys, raising(error)) == (2, "", f"tool.py: error: {line}\n")


def test_a_full_device_is_one_line_and_other_runtime_errors_are_bugs(monkeypatch, capsys):
    import torch

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nand more")
    assert end(monkeypatch, capsys, raising(error)) == (
        2, "", "tool.py: error: the device is out of memory; use fewer at a time\n",
    )  # fmt: skip

    def main(args):
        args.batch_size = 1
        raise error

    assert "use a smaller --batch-size" in end(monkeypatch, capsys, main)[2]
    with pytest.raises(RuntimeError, match="a bug"):
        run_script(raising(RuntimeError("a bug")), Parser("What it is."))


def test_a_narrow_pipe_gets_question_marks_not_an_error(monkeypatch):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="cp1252") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["tool.py"])

    def main(args):
        print("人 walks")
        raise ValueError("人")

    with pytest.raises(SystemExit):
        run_script(main, Parser("What it is."))
    out, err = (stream.detach().getvalue() for stream in map(flushed, streams.values()))
    assert out.split() == [b"?", b"walks"] and err.split() == [b"tool.py:", b"error:", b"?"]


def flushed(stream):
    stream.flush()
    return stream


def test_ctrl_c_and_a_closed_pipe_are_no_mistakes(monkeypatch, capsys):
    assert end(monkeypatch, capsys, raising(KeyboardInterrupt()))[0] == 130
    assert end(monkeypatch, capsys, raising(BrokenPipeError()))[0] == 0


def test_debug_shows_the_traceback_and_bugs_always_do(monkeypatch, capsys):
    code, _, err = end(monkeypatch, capsys, raising(ValueError("x")), "--debug")
    assert code == 2 and err.startswith("Traceback") and err.splitlines()[-1].endswith("error: x")
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises(KeyError):
        run_script(raising(KeyError("a bug")), Parser("What it is."))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_output_that_no_disk_takes_is_a_failure():
    program = """
from motiongpt.cli.parser import Parser, run_script
run_script(lambda args: print("too much"), Parser("What it is."))
"""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0 and "error: no space left on the disk" in done.stderr


def test_debug_shows_no_traceback_of_a_users_mistake(script, tmp_path):
    """An error that our own code raises on purpose says all there is to say."""
    (tmp_path / "bad.json").write_text("{")
    for command in (
        ("finetune", "--stage", "9"),
        ("sample", "--prompt", "x", "--run", tmp_path / "nowhere"),
        ("sample", "--prompt", "x", "--temperature", "-1"),
        ("finetune", "--stage", 1, "--data", tmp_path / "bad.json", "--out", tmp_path / "o"),
        ("train_vqvae", "--data", tmp_path / "nowhere", "--out", tmp_path / "o"),
    ):
        done = script(*command, "--debug")
        assert done.code == 2 and done.err.count("\n") == 1 and "Traceback" not in done.err, done.err


def test_a_wrong_flag_is_one_line_and_not_guessed(monkeypatch, capsys):
    for args in (["--nonsense"], ["--deb"], ["stray"]):
        code, out, err = end(monkeypatch, capsys, lambda a: None, *args)
        assert code == 2 and out == "" and err.count("\n") == 1 and "--help lists the flags" in err


# 5) Notes, refusals, and names that scripts print.


def test_variables_of_the_hub_are_named_where_nothing_is_pushed(monkeypatch, capsys):
    for name in HUB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    say_unread_environment()
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("HF_USER", "somebody")
    monkeypatch.setenv("HUB_REPO_S1", "a/b")
    say_unread_environment()
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "HF_USER, HUB_REPO_S1 set in the environment" in out and "somebody" not in out


def test_the_hub_token_is_handed_on_said_and_never_shown(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "")  # monkeypatch puts it back afterwards
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "hf_secret")
    use_hub_token(tmp_path)
    use_hub_token(None)
    assert os.environ["HF_TOKEN"] == "" and capsys.readouterr().out == ""  # nothing to fetch
    use_hub_token("somebody/a-model")
    assert os.environ["HF_TOKEN"] == "hf_secret"
    assert capsys.readouterr().out == "Hub token (environment: HUGGINGFACE_HUB_TOKEN)\n"
    use_hub_token("somebody/a-model")
    assert capsys.readouterr().out == "Hub token (environment: HF_TOKEN)\n"


def test_flags_without_effect_are_refused_by_name():
    args = argparse.Namespace(batch_size=None, fresh=False, seed=0, lora_r=4)
    refuse_flags(args, ("batch_size", "fresh", "absent"), "here")
    with pytest.raises(ValueError, match="^--lora-r has no meaning here; drop it$"):
        refuse_flags(args, ("lora_r",), "here")
    with pytest.raises(ValueError, match="--seed, --lora-r have no meaning"):  # 0 is given, False is not
        refuse_flags(args, ("seed", "lora_r"), "here")


def test_the_same_command_for_another_stage(monkeypatch):
    words = "--stage 1 --data a.json --tasks t2m=1 m2t=2 --lr 1 --from x --fresh --out=my dir".split(" ")
    monkeypatch.setattr(sys, "argv", ["/somewhere/finetune.py", *words[:-2], "--out", "my dir"])
    assert command_for_stage(2) == "python scripts/finetune.py --stage 2 --data a.json --lr 1 --out 'my dir'"
    assert command_for_stage(2, "--data") == "python scripts/finetune.py --stage 2 --lr 1 --out 'my dir'"
    monkeypatch.setattr(sys, "argv", ["finetune.py", "--stage=1", "--lr=2"])
    assert command_for_stage(3) == "python scripts/finetune.py --stage 3 --lr=2"
    # a variable may have been set for this command alone; --data stands above it, and is said anew where it is dropped
    monkeypatch.setenv("DATA_JSON_PATH", "my data.json")
    monkeypatch.setenv("WORK_DIR", "w")
    assert command_for_stage(3) == (
        "DATA_JSON_PATH='my data.json' WORK_DIR=w python scripts/finetune.py --stage 3 --lr=2"
    )
    assert command_for_stage(3, "--data") == "WORK_DIR=w python scripts/finetune.py --stage 3 --lr=2"


@for_each(
    "prompt, name",
    [("A person walks!", "a-person-walks"), ("../../etc", "etc"), ("🤸", "motion"), ("a " * 20, "a-a-a-a-a-a-a-a"),
     ("b" * 99, "b" * 60), ("الشخص", "الشخص")],
)  # fmt: skip
def test_a_slug_is_a_plain_folder_name(prompt, name):
    assert folder_name(prompt) == name
