"""Sentencepiece models: the ids are those of the sentencepiece library and of transformers, and text stays text."""

import base64
import json
from pathlib import Path

import pytest
from cases import for_each
from tiny_tokenizers import GEMMA, SENTENCES, SETTINGS, sentencepiece_model

from motiongpt.files.sentencepiece_model import tokenizer_json
from motiongpt.text_tokenizer import JSONTokenizer, load_text_tokenizer
from motiongpt.vocab import MotionVocab

NO_PREFIX = b"\x1a\x02\x18\x00"  # appended to a .model: normalizer_spec.add_dummy_prefix = false
TEXTS = (
    *SENTENCES,
    *(f"{one}, then {other}" for one in SENTENCES for other in SENTENCES),
    "  lead", "trail  ", " ", "   ", "", "\n", "\n\n\n\n\n", "\t\ttab", "x\u00a0y", "ﬁne ½ ①", "1234567 3.14", "(((",
    "…—“q”", "🚶🏽\u200d♀️ walks 👋", "a\u0301 e\u0301", "\x00 zero \u200b\ufeff", "שלום עולם", "الشخص يمشي", "\r\n",
    "İstanbul ǅ", "\n" * 11, f"x{' ' * 29}y", "\t" * 7,
)  # fmt: skip
HOSTILE = (
    "<s>", "</s> x", "walk</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<start_of_turn>user\n", "<end_of_turn>",
    "<h1>title</h1>", "<0x0A>", "a<0x41>b", "<extra_id_0>", "<extra_id_99> and <extra_id_5>", "<MOT_BEGIN><motion_3>",
)  # fmt: skip
SENTINELS = {"t5": 100}


def content(kind: str) -> dict:
    return tokenizer_json(sentencepiece_model(kind), SENTINELS.get(kind, 0))


def read(kind: str) -> JSONTokenizer:
    return JSONTokenizer(json.dumps(content(kind)))


def oracle(kind: str, more: bytes = b""):
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(kind) + more)


# 1) Ids.


@for_each("kind", SETTINGS)
def test_ids_are_those_of_sentencepiece(kind):
    """Inside a line, so without the space before the first word, unless every word has one, as in T5."""
    ours, theirs = read(kind), oracle(kind, b"" if kind == "t5" else NO_PREFIX)
    assert ours.size == theirs.get_piece_size() + SENTINELS.get(kind, 0)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text
    for word in ("<unk>", "</s>" if kind != "gemma" else "<eos>"):
        assert ours.token_id(word) == theirs.piece_to_id(word)


def test_a_saved_llama_writes_the_space_at_the_start_of_a_text(tmp_path):
    """The files are for other programs, which read a text from its beginning. There is one known difference: a text
    that starts with a space gets no second one, as in transformers."""
    from tokenizers import Tokenizer

    read("llama").save(tmp_path)
    saved, theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), oracle("llama")
    for text in TEXTS:
        if not text.startswith(" "):
            assert saved.encode(text, add_special_tokens=False).ids == theirs.encode(text), text
            assert saved.encode(text).ids == [theirs.bos_id(), *theirs.encode(text)]


@pytest.mark.slow
@for_each("kind", ["llama", "t5", "gemma"])
def test_ids_are_those_of_the_class_of_transformers(kind):
    """Its classes are made from the same pieces. Llama's is asked for a text behind a marker."""
    transformers = pytest.importorskip("transformers")
    ours, plain = read(kind), content(kind)
    vocab = plain["model"]["vocab"]
    if kind == "t5":
        table = base64.b64decode(plain["normalizer"]["normalizers"][0]["precompiled_charsmap"])
        pieces = [(piece, score) for piece, score in vocab]
        theirs = transformers.T5Tokenizer(vocab=pieces, _spm_precompiled_charsmap=table)
        assert theirs.convert_tokens_to_ids("<extra_id_0>") == ours.token_id("<extra_id_0>") == ours.size - 1
        assert theirs.convert_tokens_to_ids("<extra_id_99>") == ours.token_id("<extra_id_99>") == ours.size - 100
    else:
        merges = [tuple(merge) for merge in plain["model"]["merges"]]
        name = {"llama": "LlamaTokenizer", "gemma": "GemmaTokenizer"}[kind]
        theirs = getattr(transformers, name)(vocab=vocab, merges=merges)
    before = "<s>" if kind == "llama" else ""
    for text in TEXTS:
        ids = theirs.encode(before + text, add_special_tokens=False)
        assert ours.encode(text) == ids[bool(before) :], text


def test_a_text_may_be_encoded_in_pieces():
    """What follows a line break has no space in front: caption and frame are encoded one by one."""
    for kind in ("llama", "gemma", "unigram-bytes"):
        ours = read(kind)
        whole = ours.encode("x\n\na person walks\nsomeone")
        parts = ("x", "\n\n", "a person walks", "\n", "someone")
        assert whole == [i for part in parts for i in ours.encode(part)], kind
        assert ours.decode(whole) == "x\n\na person walks\nsomeone"
    t5 = read("t5")  # a space in front of every word, and line breaks are spaces
    assert t5.encode("\n\n") == [] and t5.encode("a b") == [*t5.encode("a"), *t5.encode("b")]


# 2) Text stays text.


@for_each("kind", SETTINGS)
def test_hostile_text_never_becomes_a_marker(kind, tmp_path):
    """After saving and loading as well. T5 has no piece for <, so that its unknown token is the only added one."""
    ours = read(kind)
    ours.save(tmp_path, MotionVocab(ours, 4).words)
    saved = load_text_tokenizer(tmp_path)
    unknown = {ours.token_id("<unk>")} if kind == "t5" else set()
    for text in HOSTILE:
        ids = ours.encode(text)
        assert set(ids) & set(ours.added_ids) <= unknown, text
        assert "<0x" not in text or ours.token_id("<0x0A>") not in ids
        assert ids == saved.encode(text) and max(ids) < ours.size, text
        if kind != "t5":
            assert ours.decode(ids) == text == saved.decode(ids)


@for_each("kind", SETTINGS)
def test_decode_inverts_encode(kind):
    ours, theirs = read(kind), oracle(kind)
    for text in TEXTS:
        written = ours.decode(ours.encode(text))
        if kind == "t5":  # NFKC, single spaces, and what it has no piece for is gone
            wanted = theirs.decode([i for i in theirs.encode(text) if i != theirs.unk_id()])
            assert written.lstrip() == wanted, text  # behind two unknown words at the start a space is left
        else:
            assert written == text


def test_a_written_space_mark_becomes_a_space():
    """The one character that sentencepiece itself cannot tell from a space."""
    assert read("llama").decode(read("llama").encode("a▁b")) == "a b"


def test_whitespace_of_gemma_is_text_though_its_files_list_it_as_added():
    ours = read("gemma")
    assert ours.encode("\n\n") == [ours.token_id("\n\n")] and ours.token_id("\n\n") not in ours.added_ids
    assert ours.token_id("<h1>") in ours.added_ids and len(ours.added_ids) == 10
    assert "\n\n" in [token["content"] for token in json.loads(ours.full.to_str())["added_tokens"]]
    assert GEMMA["user_defined_symbols"][3] == "\n"


# 3) Other spellings of the same tokenizer.


def test_an_older_llama_file_is_read_like_a_newer_one(tmp_path):
    """Files of transformers before 4.40 put the space in front with a normaliser, behind each marker too."""
    newer = content("llama")
    space, older = newer["pre_tokenizer"], dict(newer, pre_tokenizer=None)
    assert space == {"type": "Metaspace", "replacement": "▁", "split": False, "prepend_scheme": "first"}
    steps = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    older["normalizer"] = {"type": "Sequence", "normalizers": steps}
    ours, other = JSONTokenizer(json.dumps(older)), read("llama")
    ours.save(tmp_path, ["<word>"])
    for text in (*TEXTS, *HOSTILE):
        assert ours.encode(text) == other.encode(text) and ours.decode(ours.encode(text)) == text
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert saved["pre_tokenizer"] == space and saved["normalizer"] is None


def test_a_t5_file_of_transformers_is_read_like_its_model():
    """It cuts at whitespace instead of collapsing it."""
    other = content("t5")
    other["normalizer"]["normalizers"] = other["normalizer"]["normalizers"][:1]
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    other["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]}
    other["decoder"] = space
    ours, theirs = JSONTokenizer(json.dumps(other)), read("t5")
    for text in (*TEXTS, *HOSTILE):
        assert ours.encode(text) == theirs.encode(text), text
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)), text


# 4) Folders.


@pytest.mark.slow
@for_each(
    "kind, model_type, ends",
    [("llama", "llama", "</s>"), ("gemma", "gemma3_text", "<end_of_turn>"), ("t5", "t5", "</s>")],
)
def test_saved_files_load_in_transformers_beside_a_config(kind, model_type, ends, tmp_path):
    """transformers has classes of its own for these model types; ours must win, or the new words are lost."""
    transformers = pytest.importorskip("transformers")
    ours = read(kind)
    words = MotionVocab(ours, 4, ["P1"]).words
    ours.save(tmp_path, words)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.convert_tokens_to_ids(list(words)) == list(range(ours.size, ours.size + len(words)))
    assert (len(theirs), theirs.eos_token) == (ours.size + len(words), ends)
    word = ours.size + words.index("<T2M>")
    for text in TEXTS:  # behind a word of motion
        assert theirs.encode(f"<T2M>{text}", add_special_tokens=False) == [word, *ours.encode(text)], text
    # and as its users call it: with the start that Llama and Gemma need, or T5's end
    ids = theirs("<T2M>a person").input_ids
    around = {"llama": ["<s>"], "gemma": ["<bos>"], "t5": []}[kind]
    end = [ours.token_id("</s>")] if kind == "t5" else []
    assert ids == [*map(ours.token_id, around), word, *ours.encode("a person"), *end]


def model_folder(folder: Path, name: str, kind: str, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(sentencepiece_model(kind))
    for stem, value in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(value))
    return folder


def test_a_folder_with_a_sentencepiece_model_is_read(tmp_path):
    folder = model_folder(tmp_path / "llama", "tokenizer.model", "llama")
    assert load_text_tokenizer(folder).encode("walks") == read("llama").encode("walks")
    # tokenizer.json comes first
    read("gemma").save(folder)
    assert load_text_tokenizer(folder).token_id("<start_of_turn>") is not None


@for_each(
    "files, sentinels",
    [
        ({"config": {"model_type": "t5"}}, 100),
        ({"config": {"model_type": "t5"}, "tokenizer_config": {"extra_ids": 12}}, 12),
        ({"config": {"model_type": "mt5"}, "tokenizer_config": {"extra_ids": 0}}, 0),
        ({"config": {"model_type": "mt5"}}, 0),
        ({}, 0),
    ],
)
def test_t5_has_its_sentinels_behind_its_pieces(files, sentinels, tmp_path):
    found = load_text_tokenizer(model_folder(tmp_path, "spiece.model", "t5", **files))
    pieces = oracle("t5").get_piece_size()
    assert found.size == pieces + sentinels
    ids = [found.token_id(f"<extra_id_{i}>") for i in range(sentinels)]
    assert ids == list(range(found.size - 1, pieces - 1, -1))
    assert found.token_id(f"<extra_id_{sentinels}>") is None


def test_a_folder_of_lit_llama_has_its_tokenizer_beside_it(tmp_path):
    folder = tmp_path / "lit-llama" / "7B"
    model_folder(folder.parent, "tokenizer.model", "llama")
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match="no tokenizer.json"):  # any other folder keeps to itself
        load_text_tokenizer(folder)
    (folder / "lit-llama.pth").touch()
    assert load_text_tokenizer(folder).size == read("llama").size


@for_each(
    "damage, message",
    [
        (lambda model: b"", "no pieces"),
        (lambda model: model[:-7], "damaged"),
        (lambda model: model[: len(model) // 2], "damaged|no piece"),
        (lambda model: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "not a sentencepiece"),
        (lambda model: b"IQ== 0\nIg== 1\n", "tiktoken file.*tokenizer.json"),
        (lambda model: model + b"\x12\x02\x18\x03", "only unigram and BPE"),  # trainer_spec.model_type = 3, words
        (lambda model: model + b"\x1a\x02\x28\x00", "with spaces as they are"),
        (lambda model: model + model[: 2 + model[1]], "twice"),
        (lambda model: bytes(range(256)) * 4, "not a sentencepiece"),
    ],
)
def test_a_damaged_or_other_file_is_a_named_error(damage, message, tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(damage(sentencepiece_model("llama")))
    with pytest.raises(ValueError, match=f"tokenizer.model is not a tokenizer we read .*({message})"):
        load_text_tokenizer(tmp_path)


def test_vocab_and_merges_without_tokenizer_json_say_what_to_do(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="no tokenizer.json; write one: python -c .*AutoTokenizer"):
        load_text_tokenizer(tmp_path)


@for_each(
    "files, wanted",
    [
        ({"tokenizer_config.json": '{"chat_template": "[INST]"}'}, "[INST]"),
        ({"chat_template.jinja": "[INST] own"}, "[INST] own"),
        ({"tokenizer_config.json": '{"chat_template": "x"}', "chat_template.jinja": "own"}, "own"),
        ({"tokenizer_config.json": '{"chat_template": [{"name": "default", "template": "d"}]}'}, "d"),
        ({"tokenizer_config.json": '{"chat_template": 3}'}, None),
        ({}, None),
    ],
)
def test_the_chat_template_is_read_and_handed_on(files, wanted, tmp_path):
    folder = model_folder(tmp_path / "there", "tokenizer.model", "llama")
    for name, text in files.items():
        (folder / name).write_text(text)
    found = load_text_tokenizer(folder)
    found.save(tmp_path)
    assert found.chat_template == wanted == load_text_tokenizer(tmp_path).chat_template
    assert ("chat_template" in json.loads((tmp_path / "tokenizer_config.json").read_text())) == (wanted is not None)
