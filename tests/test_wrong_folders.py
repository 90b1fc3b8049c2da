"""A folder that is no backbone gets one line that names the file and the remedy, from Python and from a script."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cases import for_each

from motiongpt.files.store import read_tensors, write_tensors
from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.weights.backbone import load_backbone
from motiongpt.weights.wrong_folders import find_backbone

TENSOR = "model.layers.1.mlp.up_proj.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 988097824\n"


def config(**values) -> Callable[[Path], None]:
    """Change fields of config.json."""

    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def only(*files: str) -> Callable[[Path], None]:
    """Other files in place of everything, empty objects."""

    def spoil(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")

    return spoil


def instead(*files: str) -> Callable[[Path], None]:
    """Other files in place of model.safetensors."""

    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for name in files:
            (folder / name).write_bytes(b"\x00" * 100)

    return spoil


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def tensors(change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Change the tensors of model.safetensors."""

    def spoil(folder: Path) -> None:
        content = read_tensors(folder / "model.safetensors")
        change(content)
        write_tensors(folder / "model.safetensors", content)

    return spoil


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def shards(lost: bool = False, cut_short: bool = False) -> Callable[[Path], None]:
    """model.safetensors in two shards with an index; the second is lost or cut short."""

    def spoil(folder: Path) -> None:
        content = read_tensors(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = sorted(content)
        places = {name: f"model-0000{1 + (i > 5)}-of-00002.safetensors" for i, name in enumerate(names)}
        for file in set(places.values()):
            write_tensors(folder / file, {name: content[name] for name in names if places[name] == file})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        second = folder / "model-00002-of-00002.safetensors"
        if lost:
            second.unlink()
        if cut_short:
            second.write_bytes(second.read_bytes()[:-1000])

    return spoil


WRONG = [
    # another kind of model
    (config(model_type="gpt2"), "{folder}/config.json: model_type 'gpt2' is not supported; supported: qwen2, qwen3"),
    (config(model_type="mistral"), "model_type 'mistral' is not supported; supported:"),
    (config(model_type="mamba"), "model_type 'mamba' is not supported; supported:"),
    (config(model_type="bert"), "model_type 'bert' is not supported (an encoder, which cannot write); supp"),
    (config(model_type="clip"), "model_type 'clip' is not supported (an encoder, which cannot write); supp"),
    (config(model_type=None), "config.json has no model_type, so it describes no model of Hugging Face; supported:"),
    (config(model_type=["llama"]), "model_type ['llama'] is not supported; supported:"),
    (only("model_index.json", "unet/config.json"), "{folder}/model_index.json describes a diffusion pipeline, not a"),
    (config(_class_name="UNet2DConditionModel"), "config.json describes UNet2DConditionModel, a part of a diffusion"),
    (config(RunConfig={}), "config.json is that of a run, not a backbone: name one of its stage folders"),
    (config(VQVAEConfig={}), "config.json is that of a motion tokenizer, not a language model: it is for --vqvae"),
    # no config.json
    (only(), "{folder}/config.json does not exist; a backbone needs config.json, model.safetensors and a tokenizer; "
     "the folder holds nothing"),
    (only("notes.txt"), "the folder holds notes.txt"),
    (only("Llama-3.2-1B/config.json"), "{folder}/config.json does not exist; did you mean {folder}/Llama-3.2-1B?"),
    (only("snapshots/abc/config.json", "refs/main"), "did you mean {folder}/snapshots/abc?"),
    (only("smollm.gguf"), "smollm.gguf is a GGUF file; if it is a Llama, convert it: python -c"),
    (only("consolidated.00.pth", "params.json"), "it is in the layout of Meta's own code"),
    # weights in another format
    (instead("pytorch_model.bin"), "{folder} has no model.safetensors, only pytorch_model.bin, which is not read"),
    (instead("tf_model.h5"), "only tf_model.h5, which is not read; convert it where transformers is: python -c"),
    (instead("model.gguf"), "model.gguf is a GGUF file; if it is a Llama, convert it: python -c"),
    (instead("model-00001-of-00002.safetensors"), "it has model-00001-of-00002.safetensors, and no model.safetensors"),
    (instead("consolidated.safetensors"), "{folder} has no model.safetensors: it has consolidated.safetensors"),
    (instead(), "{folder} has no model.safetensors and no other weights"),
    (config(quantization_config={"quant_method": "gptq", "bits": 4}), "config.json: the weights are quantised (gptq)"),
    (config(quantization_config={"quant_method": "awq"}), "quantised (awq), which is not supported; use the model"),
    (config(quantization_config={"load_in_4bit": True, "quant_method": "bitsandbytes"}), "quantised (bitsandbytes)"),
    (config(quantization={"bits": 4, "group_size": 64}), "quantised (quantization), which is not supported"),
    (text("quantize_config.json", "{}"), "{folder}/quantize_config.json: the weights are quantised, which is not"),
    # a file that is not what its name says
    (text("model.safetensors", POINTER), "{folder}/model.safetensors is a pointer of Git LFS, not the file; run: git"),
    (text("tokenizer.json", POINTER), "{folder}/tokenizer.json is a pointer of Git LFS, not the file; run: git -C"),
    (text("config.json", POINTER), "{folder}/config.json, line 1: not valid JSON"),
    (cut, "{folder}/model.safetensors is damaged or cut short"),
    (shards(lost=True), "model-00002-of-00002.safetensors"),
    (shards(cut_short=True), "{folder}/model-00002-of-00002.safetensors is damaged or cut short"),
    # tensors that do not fit
    (tensors(lambda content: content.update({TENSOR: torch.zeros(3, 4)})), f"{TENSOR} is (3, 4), the model has"),
    (tensors(lambda content: content.pop(TENSOR)), f"missing 1 ({TENSOR})"),
    (tensors(lambda content: content.update(extra=torch.zeros(1))), "unexpected 1 (extra)"),
]  # fmt: skip


@for_each("spoil, message", WRONG)
def test_from_python(spoil, message, tiny, tmp_path):
    folder = tmp_path / "backbone"
    shutil.copytree(tiny.backbone, folder)
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_backbone(folder)
    said = str(error.value)
    assert message.format(folder=folder) in said and "\n" not in said and len(said) < 500, said


def larger_tokenizer(folder: Path) -> None:
    text_tokenizer = load_text_tokenizer(folder)
    text_tokenizer.save(folder, [f"<word_{i}>" for i in range(100)])


STAGE_ONLY = [
    (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    (larger_tokenizer, "rows: they do not belong together"),
]
"""What only a stage sees, which needs a text tokenizer too."""


@pytest.mark.slow
@for_each("spoil, message", WRONG + STAGE_ONLY)
def test_from_a_script(spoil, message, tiny, script, tmp_path):
    folder = tmp_path / "backbone"
    shutil.copytree(tiny.backbone, folder)
    spoil(folder)
    flags = ("--stage", 1, "--data", tiny.data, "--backbone", folder, "--out", tmp_path / "run", "--dry-run")
    done = script("finetune", *flags)
    said = done.err
    assert done.code == 2 and said.count("\n") == 1 and "Traceback" not in done.out + said, (done.out, said)
    assert message.format(folder=folder) in said, said
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "smollm.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match="smollm.gguf is a GGUF file; if it is a Llama, convert it: python -c"):
        find_backbone(tmp_path / "smollm.gguf")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        ValueError, match="model.safetensors is a file; a backbone is a folder with config.json and its"
    ):
        find_backbone(tmp_path / "model.safetensors")


@for_each("wrap", [
    lambda key: f"_orig_mod.{key}",
    lambda key: f"module.{key}",
    lambda key: f"module._orig_mod.{key}",
    lambda key: f"_orig_mod.module.{key}",
    lambda key: key.replace("layers.", "_orig_mod.layers.").replace(".mlp", "._checkpoint_wrapped_module.mlp"),
])  # fmt: skip
def test_wrappers_of_a_training_are_taken_off(wrap, tiny, tmp_path, capsys):
    folder = tmp_path / "backbone"
    shutil.copytree(tiny.backbone, folder)
    content = read_tensors(folder / "model.safetensors")
    write_tensors(folder / "model.safetensors", {wrap(key): tensor for key, tensor in content.items()})
    loaded, expected = load_backbone(folder).state_dict(), load_backbone(tiny.backbone).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"note: {folder / 'model.safetensors'}: keys such as "), said
    assert "are read without their wrapper" in said


@for_each("change, message", [
    (lambda content: content.update({"module.x": torch.zeros(1)}), "unexpected 1 (module.x)"),  # not under all keys
    (lambda content: content.update({f"_orig_mod.{TENSOR}": torch.zeros(64, 32)}), f"are the same tensor, {TENSOR}"),
])  # fmt: skip
def test_half_a_wrapper_is_refused(change, message, tiny, tmp_path):
    backbone = tmp_path / "backbone"
    shutil.copytree(tiny.backbone, backbone)
    tensors(change)(backbone)
    with pytest.raises(ValueError) as error:
        load_backbone(backbone)
    assert message in str(error.value) and str(backbone / "model.safetensors") in str(error.value)
