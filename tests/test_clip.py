"""CLIP's text tower and tokenizer against `transformers`, on tiny random weights and a vocabulary made here."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from cases import for_each, seeded

from motiongpt.backbones.clip import ClipConfig, ClipTextEncoder
from motiongpt.backbones.clip_tokenizer import END, START, load_clip_tokenizer
from motiongpt.files.store import read_tensors, write_tensors
from motiongpt.weights.clip import ClipText, clip_config_from_hf, load_clip

transformers = pytest.importorskip("transformers")

T = 20
CASES = {
    "b32-like": dict(hidden_size=32, num_attention_heads=2, intermediate_size=128),
    "l14-like": dict(hidden_size=48, num_attention_heads=3, intermediate_size=96, num_hidden_layers=3),
    "gelu": dict(hidden_size=40, num_attention_heads=5, hidden_act="gelu", layer_norm_eps=1e-6),
}
# fp32 on both sides, with sums in another order. States are of order 1 to 10, so this allows some tens of roundings.
CLOSE = dict(atol=2e-5, rtol=1e-5)
SENTENCES = [
    "a person walks forward",
    "Someone's waving; they've 12 dogs & it'll rain!!",
    "  A PERSON\tturns \n LEFT 90°  ",
    "naïve café – ﬁve ½ ΣΑΣ İstanbul",
    "走路的人 пешеход 🚶🏽‍♀️",
    "e\u0301 and \u00e9",
    "don't 'stop'll x_y--z ... ###",
    "",
    "walk " * 100,
]


def reference(case: str = "b32-like", kind: str = "CLIPModel", **changes):
    """A tiny transformers model. All its parameters are random, biases and norms too, so that a forgotten one shows."""
    text = dict(vocab_size=700, num_hidden_layers=2, max_position_embeddings=T, projection_dim=24, eos_token_id=699)
    text |= CASES[case] | changes
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    vision |= dict(image_size=8, patch_size=4)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    model = getattr(transformers, kind)(config if kind == "CLIPModel" else config.text_config).eval()
    generator = seeded(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name and name.endswith("weight")
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + is_norm)
    return model


def answers(model, ids):
    """Hidden states and the pooled sentence of a transformers model, projected if it can."""
    with torch.no_grad():
        if isinstance(model, transformers.CLIPModel):
            out = model.text_model(ids)
            return out.last_hidden_state, model.text_projection(out.pooler_output)
        out = model(ids)
        return out.last_hidden_state, out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output


def sentences(rows: int = 5) -> torch.Tensor:
    """Random ids with an end token (699, the largest) somewhere in each row, and padding of the same id after it."""
    ids = torch.randint(0, 699, (rows, T), generator=seeded(2))
    for row in range(rows):
        ids[row, 3 + 4 * row :] = 699
    return ids


def edit_config(folder: Path, change) -> dict:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return values


# 1) The tower.


KINDS = ("CLIPModel", "CLIPTextModelWithProjection", "CLIPTextModel")


def measure_clip(case: str, kind: str, folder: Path) -> dict[str, float]:
    """Largest differences of hidden states and of the pooled sentence; a row of the table of tests/test_parity.py."""
    theirs = reference(case, kind)
    theirs.save_pretrained(folder)
    ids = sentences()
    pairs = zip(("hidden", "pooled"), load_clip(folder)(ids), answers(theirs, ids), strict=True)
    return {name: (mine - expected).abs().max().item() for name, mine, expected in pairs}


@for_each("kind", KINDS)
@for_each("case", CASES)
def test_hidden_and_pooled_equal_transformers(case, kind, tmp_path):
    errors = measure_clip(case, kind, tmp_path)
    assert max(errors.values()) < CLOSE["atol"], errors


@for_each("eos", [2, 699, 350])
def test_both_rules_find_the_end_as_transformers_does(eos, tmp_path):
    """2 means the largest id; any other is looked for, and a row without it gives its first state."""
    theirs = reference(eos_token_id=eos)
    theirs.save_pretrained(tmp_path)
    ids = sentences()
    ids[0, 5:9] = 350  # an end before the largest id, and twice
    ids[1, :] = 5
    ids[1, 7], ids[1, 9] = 600, 600  # the largest id twice: the first counts
    ours = load_clip(tmp_path)
    torch.testing.assert_close(ours(ids)[1], answers(theirs, ids)[1], **CLOSE)


def test_padding_does_not_change_a_sentence(tmp_path):
    reference().save_pretrained(tmp_path)
    ours = load_clip(tmp_path)
    ids = sentences(1)
    others = ids.clone()
    others[0, 4:] = 0  # after the end token at 3
    (hidden, pooled), (other_hidden, other_pooled) = ours(ids), ours(others)
    torch.testing.assert_close(pooled, other_pooled, atol=0, rtol=0)
    torch.testing.assert_close(hidden[:, :4], other_hidden[:, :4], atol=0, rtol=0)
    assert not torch.allclose(hidden[:, 4:], other_hidden[:, 4:])
    with pytest.raises(ValueError, match=f"21 tokens exceed CLIP's {T} positions"):
        ours(torch.zeros(1, 21, dtype=torch.long))


def test_old_files_and_shards(tmp_path):
    """transformers 4: torch_dtype, the buffer position_ids, `text_model.` in every key of a CLIPTextModel, shards."""
    theirs = reference(kind="CLIPTextModel")
    theirs.save_pretrained(tmp_path)
    tensors = read_tensors(tmp_path / "model.safetensors")
    tensors = {f"text_model.{key}": tensor for key, tensor in tensors.items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(T)[None]
    write_tensors(tmp_path / "model.safetensors", tensors)
    edit_config(tmp_path, lambda values: values.update(torch_dtype=values.pop("dtype")))
    ids = sentences()
    torch.testing.assert_close(load_clip(tmp_path)(ids), answers(theirs, ids), **CLOSE)

    whole = reference()
    whole.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    torch.testing.assert_close(load_clip(tmp_path / "shards")(ids), answers(whole, ids), **CLOSE)


def test_dtype(tmp_path):
    reference().half().save_pretrained(tmp_path)
    ours = load_clip(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert {parameter.dtype for parameter in load_clip(tmp_path, torch.bfloat16).parameters()} == {torch.bfloat16}


@for_each("values", [
    {"model_type": "clip", "projection_dim": 24, "text_config": {"hidden_size": 96, "eos_token_id": 2}},
    {"model_type": "clip", "text_config": {"hidden_size": 96, "eos_token_id": 2, "hidden_act": "gelu"},
     "text_config_dict": {"hidden_size": 96, "num_attention_heads": 12}},
    {"model_type": "clip", "text_config_dict": {"num_hidden_layers": 3}, "text_config": None},
    {"model_type": "clip", "text_config_dict": None, "text_config": {"num_hidden_layers": 3}, "projection_dim": 9},
    {"model_type": "clip_text_model", "intermediate_size": 31, "projection_dim": 5, "layer_norm_eps": 1e-6},
])  # fmt: skip
def test_config_is_read_as_transformers_reads_it(values, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(values))
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    text = theirs if values["model_type"] == "clip_text_model" else theirs.text_config
    assert clip_config_from_hf(values) == ClipConfig(
        vocab_size=text.vocab_size,
        hidden_size=text.hidden_size,
        intermediate_size=text.intermediate_size,
        num_layers=text.num_hidden_layers,
        num_heads=text.num_attention_heads,
        max_positions=text.max_position_embeddings,
        norm_eps=text.layer_norm_eps,
        projection_dim=theirs.projection_dim,
        quick_gelu=text.hidden_act == "quick_gelu",
        eos_id=text.eos_token_id,
    )


def test_the_published_shapes_have_the_published_sizes():
    """Parameters of the text towers of OpenAI's ViT-B/32 and ViT-L/14, counted on their released models."""
    with torch.device("meta"):
        small = ClipTextEncoder(ClipConfig())
        large = ClipTextEncoder(ClipConfig(hidden_size=768, intermediate_size=3072, num_heads=12, projection_dim=768))
    assert sum(parameter.numel() for parameter in small.parameters()) == 63_428_096
    assert sum(parameter.numel() for parameter in large.parameters()) == 123_650_304


# 2) The tokenizer.


def write_vocabulary(folder: Path, merges: list[tuple[str, str]]) -> Path:
    """vocab.json and merges.txt as CLIP's: bytes, bytes that end a word, merges, start and end."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = letters + [f"{letter}</w>" for letter in letters] + ["".join(pair) for pair in merges] + [START, END]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def learnt_merges() -> list[tuple[str, str]]:
    """Merges a BPE trainer learns from a few sentences, in order, with `</w>` at the end of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learnt.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])
    trainer = trainers.BpeTrainer(vocab_size=450, end_of_word_suffix="</w>", show_progress=False, min_frequency=1)
    learnt.train_from_iterator([text.lower() for text in SENTENCES] * 3, trainer)
    return [tuple(pair) for pair in json.loads(learnt.to_str())["model"]["merges"]]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("clip") / "vocabulary", learnt_merges())


def test_ids_equal_transformers(vocabulary, tmp_path):
    """From vocab.json and merges.txt, and from the tokenizer.json that transformers makes of them."""
    theirs = transformers.CLIPTokenizer.from_pretrained(vocabulary)
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    expected = theirs(SENTENCES, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    for folder in (vocabulary, tmp_path):
        ours = load_clip_tokenizer(folder)
        assert any(len(ours.encode(text)) < len(text) / 2 for text in SENTENCES)  # merges do happen
        for text in SENTENCES:
            assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids
        ids, mask = ours.batch(SENTENCES)
        assert ids.tolist() == expected.input_ids.tolist()
        assert mask.tolist() == expected.attention_mask.bool().tolist()


def test_real_vocabulary(tmp_path):
    """CLIP's own merges, if a package that carries them is installed: ids as transformers and OpenAI."""
    specs = [importlib.util.find_spec(name) for name in ("clip", "open_clip")]
    files = [Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz" for spec in specs if spec and spec.origin]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        pytest.skip("needs CLIP's vocabulary, as in the package clip-anytorch or open_clip_torch")
    lines = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49_152 - 256 - 2 + 1]]  # as OpenAI's code reads it
    ours = load_clip_tokenizer(write_vocabulary(tmp_path, merges))
    assert (ours.size, ours.start, ours.end) == (49_408, 49_406, 49_407)
    assert ours.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
    theirs = transformers.CLIPTokenizer.from_pretrained(tmp_path)
    for text in SENTENCES:
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids


def test_markers_in_a_text_are_text(vocabulary):
    ours = load_clip_tokenizer(vocabulary)
    ids = ours.encode(f"walk {END} {START} run")
    assert not {ours.start, ours.end} & set(ids)
    with pytest.raises(ValueError, match="not Unicode"):
        ours.encode("\udcff")


# 3) Texts to features, and folders that are not CLIP's.


@pytest.fixture(scope="module")
def folder(vocabulary, tmp_path_factory) -> Path:
    """A whole tiny CLIP: tower, tokenizer.json and a vocabulary of its size, as transformers saves them."""
    folder = tmp_path_factory.mktemp("clip") / "whole"
    tokenizer = transformers.CLIPTokenizer.from_pretrained(vocabulary)
    tokenizer.save_pretrained(folder)
    eos = tokenizer.eos_token_id
    reference(vocab_size=len(tokenizer), eos_token_id=eos, max_position_embeddings=77).save_pretrained(folder)
    return folder


def test_texts_to_features_equal_transformers(folder):
    clip = ClipText.load(folder)
    hidden, pooled, mask = clip.encode(SENTENCES)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    inputs = tokenizer(SENTENCES, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        out = theirs.text_model(**inputs)
        features = theirs.text_projection(out.pooler_output)
    assert hidden.shape == (len(SENTENCES), 77, 32) and pooled.shape == (len(SENTENCES), 24)
    assert mask.tolist() == inputs.attention_mask.bool().tolist()
    torch.testing.assert_close(hidden[mask], out.last_hidden_state[mask], **CLOSE)
    torch.testing.assert_close(pooled, features, **CLOSE)


def test_a_long_text_is_cut_or_refused(folder):
    clip = ClipText.load(folder)
    long = "x y " * 60
    _, _, mask = clip.encode([long, "x"])
    assert mask.sum(1).tolist() == [77, 3]
    with pytest.raises(ValueError, match="the text has 120 tokens, CLIP reads 75: 'x y x y"):
        clip.encode(["x", long], truncate=False)


def test_padding_is_what_the_folder_says(folder, tmp_path):
    """OpenCLIP's models pad with "!", which decides the states after the end and nothing else."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "!", "special": True}}))
    ids, _ = load_clip_tokenizer(tmp_path).batch(["x"])
    assert ids[0, 3:].unique().tolist() == [0]
    (hidden, pooled, mask), (others, other_pooled, _) = (
        ClipText.load(path).encode(["x"]) for path in (folder, tmp_path)
    )
    assert torch.equal(pooled, other_pooled) and torch.equal(hidden[mask], others[mask])


def spoil_tensors(change):
    def spoil(folder: Path) -> None:
        tensors = read_tensors(folder / "model.safetensors")
        change(tensors)
        write_tensors(folder / "model.safetensors", tensors)

    return spoil


def spoil_config(**values):
    return lambda folder: edit_config(folder, lambda config: config["text_config"].update(values))


NORM = "text_model.final_layer_norm.weight"


@for_each("spoil, message", [
    (spoil_tensors(lambda tensors: tensors.pop(NORM)), f"does not fit the model: missing 1 ({NORM}), unexpected none"),
    (spoil_tensors(lambda tensors: tensors.update({NORM: torch.zeros(31)})), f"{NORM} is (31,), the model has (32,)"),
    (spoil_tensors(lambda tensors: tensors.update(other=torch.zeros(1))), "unexpected 1 (text_model.other)"),
    (spoil_tensors(lambda tensors: tensors.pop("text_projection.weight")), "missing 1 (text_projection.weight)"),
    (spoil_config(hidden_act="relu"), "config.json: hidden_act 'relu' is not supported; supported: quick_gelu, gelu"),
    (spoil_config(eos_token_id=[1, 2]), "config.json: eos_token_id must be a whole number of at least 0"),
    (spoil_config(eos_token_id=5), "they do not belong together"),
    (spoil_config(num_hidden_layers=10**9), "config.json: num_hidden_layers is 1000000000, which is not plausible"),
    (spoil_config(hidden_size=10**12), "config.json: hidden_size is 1000000000000, which is not plausible"),
    (lambda folder: edit_config(folder, lambda config: config.update(model_type="bert")), "'bert' has no CLIP text"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer of CLIP: no tokenizer.json, and"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json: expected a JSON object"),
    (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
])  # fmt: skip
def test_a_wrong_folder_is_named_in_one_line(spoil, message, folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        ClipText.load(tmp_path)
    assert message in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@for_each("name, content, message", [
    ("merges.txt", "#version: 0.2\na b c\n", "merges.txt: a line must be two tokens, got 'a b c'"),
    ("merges.txt", "qq rr\n", "vocab.json and merges.txt do not fit together"),
    ("merges.txt", None, "merges.txt does not exist"),
    ("vocab.json", "[]", "vocab.json: expected a JSON object"),
    ("vocab.json", '{"a": 0}', "do not fit together"),
])  # fmt: skip
def test_a_wrong_vocabulary_is_named_in_one_line(name, content, message, vocabulary, tmp_path):
    for file in vocabulary.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_clip_tokenizer(tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)
