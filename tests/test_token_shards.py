"""Token data in shards: the same entries as JSON, however they are asked for; constant memory; damage is named."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import for_each
from mutations import check_mutations

from motiongpt.config import SampleConfig
from motiongpt.data import token_shards
from motiongpt.data.batches import BucketedBatches
from motiongpt.data.selection import bounded, measured, of_split, participants_of, select
from motiongpt.data.token_formats import is_token_folder
from motiongpt.data.token_shards import KINDS, MANIFEST, TokenShards, open_shards, write_shards
from motiongpt.data.tokens import (
    Entry,
    codebook_size,
    dedup,
    load_tokens,
    meta_path,
    plain_entries,
    read_tokens_meta,
    save_tokens,
    tokens_hash,
)
from motiongpt.data.training_captions import prompt_table
from motiongpt.evaluation.model_answers import T2MOptions
from motiongpt.evaluation.protocol import ProtocolConfig
from motiongpt.evaluation.token_writing import evaluate_tokens
from motiongpt.generator import MotionGenerator
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.tasks.collate import TaskCollate
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.table import TABLE, TASKS
from motiongpt.text_tokenizer import train_text_tokenizer
from motiongpt.vocab import MotionVocab

META = {"codes": 64, "fps": 20.0}
TEXTS = ("a person walks", "eine Person läuft", "人が手を振る", "he 🚶 twice", "she sits\ndown")


def made_up(count: int, seed: int = 0) -> list[Entry]:
    """Entries of every kind, in no order of kinds."""
    rng = np.random.default_rng(seed)

    def motion() -> tuple[int, ...]:
        return tuple(rng.integers(64, size=1 + rng.integers(12)).tolist())

    return [
        Entry(
            " ".join(rng.choice(TEXTS, 1 + rng.integers(4))),
            motion(),
            [None, "P1", "Ü2"][rng.integers(3)],
            f"clip {i}" if rng.random() < 0.9 else "",
            str(rng.choice(["train", "val", "test"], p=[0.8, 0.1, 0.1])),
            motion() if rng.random() < 0.2 else (),
            "a person waves" if rng.random() < 0.3 else "",
        )
        for i in range(count)
    ]


@pytest.fixture
def small(monkeypatch):
    """Blocks and writes of a few entries, so that a small corpus has many of them."""
    monkeypatch.setattr(token_shards, "BLOCK", 7)
    monkeypatch.setattr(token_shards, "FLUSH", 5)


def written(folder: Path, entries: list[Entry], shard_codes: int = 500) -> TokenShards:
    write_shards(folder, iter(entries), META, shard_codes)
    return open_shards(folder, Entry)


def renderer() -> Renderer:
    vocab = MotionVocab(train_text_tokenizer([*TEXTS, "a person waves"] * 3, 300), 64, ("P1", "Ü2"))
    return Renderer(vocab, fold_captions=True)


# 1) The same entries.


def test_entries_come_back_however_they_are_asked_for(small, tmp_path):
    entries = made_up(400)
    shards = written(tmp_path / "t", entries)
    assert len(list((tmp_path / "t").glob("*.codes.npy"))) > 5
    assert len(shards) == 400 and list(shards) == entries
    assert [shards[i] for i in range(400)] == entries and shards[np.int64(3)] == entries[3]
    assert shards[-1] == entries[-1] and shards[5:390:7] == entries[5:390:7] and shards[:0] == []
    for outside in (400, -401):
        with pytest.raises(IndexError):
            shards[outside]


def test_selections_are_those_of_a_list(small, tmp_path):
    """Any set of kinds, and a selection of a selection."""
    entries = made_up(300)
    shards = written(tmp_path / "t", entries)
    rng = np.random.default_rng(0)
    for kept in rng.random((20, len(KINDS))) < 0.4:

        def keep(one, kept=kept) -> bool:
            return bool(kept[KINDS.index((one.split, bool(one.source), bool(one.plain)))])

        wanted, found = select(entries, keep), select(shards, keep)
        assert len(found) == len(wanted) and list(found) == wanted and [found[i] for i in range(len(found))] == wanted
        order = rng.permutation(len(wanted))
        assert found.rows(order)["codes"].tolist() == [len(wanted[i].codes) for i in order]
        assert list(of_split(found, "train")) == of_split(wanted, "train")
    assert list(plain_entries(shards)) == plain_entries(entries)
    assert participants_of(shards) == participants_of(entries) == {"P1", "Ü2"}


def test_what_training_reads_is_that_of_json(small, tmp_path):
    entries = made_up(200)
    save_tokens(tmp_path / "t.json", entries, META)
    save_tokens(tmp_path / "t", iter(entries), META, "shards")
    shards, listed = load_tokens(tmp_path / "t"), load_tokens(tmp_path / "t.json")
    assert isinstance(shards, TokenShards) and list(shards) == listed == entries
    assert is_token_folder(tmp_path / "t") and not is_token_folder(tmp_path)
    assert codebook_size(shards, tmp_path / "t", None) == (64, "tokens.meta.json")
    assert read_tokens_meta(tmp_path / "t") == META
    for folded in (False, True):
        assert prompt_table(shards, folded) == prompt_table(listed, folded)
    for tasks in ({"t2m": 0.5, "m2t": 0.3, "edit": 0.2}, {"read": 0.5, "caption": 0.5}, {"edit": 0.5, "read": 0.5}):
        batches = []
        for form in (shards, listed):
            collate = TaskCollate(of_split(form, "train"), tasks, renderer())
            batches.append(BucketedBatches(collate.lengths(), 4, 3, collate))
        assert batches[0].per_epoch == batches[1].per_epoch
        for step in range(batches[0].per_epoch + 3):
            one, other = (form(step) for form in batches)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in ("ids", "targets", "task"))


def test_training_on_shards_is_training_on_json(tiny, tmp_path):
    """Weights and losses of three steps, bit for bit; tokens_hash tells the two apart, so neither resumes the other."""
    entries = load_tokens(tiny.data)
    save_tokens(tmp_path / "t", entries, read_tokens_meta(tiny.data), "shards")
    folders = [tiny.finetune(tmp_path / name, data=data) for name, data in (("a", tiny.data), ("b", tmp_path / "t"))]
    losses = []
    for folder in folders:
        records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        losses.append([{key: value for key, value in one.items() if not key.endswith("_per_s")} for one in records])
    assert losses[0] == losses[1] and len(losses[0]) > 1
    assert len({(folder / "adapter_model.safetensors").read_bytes() for folder in folders}) == 1
    tables = [json.loads((tmp_path / name / "prompts.json").read_text()) for name in "ab"]
    assert tables[0] == tables[1]
    with pytest.raises(ValueError, match="--dedup would hold all 40 captions"):
        tiny.finetune(tmp_path / "c", data=tmp_path / "t", dedup=True)


@pytest.mark.slow
def test_sampling_and_evaluating_read_them_too(tiny, tmp_path):
    """Prompts, and the whole report but for the file's name and hash."""
    entries = load_tokens(tiny.data)
    save_tokens(tmp_path / "t", entries, read_tokens_meta(tiny.data), "shards")
    reports, captions = [], []
    for data in (tiny.data, tmp_path / "t"):
        generator = MotionGenerator(tiny.run, data)
        captions.append(generator.run.prompts.captions)
        options = T2MOptions(perplexity="stage", sampling=SampleConfig(max_new_tokens=8))
        reports.append(evaluate_tokens(data, generator, ProtocolConfig("val", repeats=1), options))
        assert reports[-1]["protocol"].pop("data") == data.name
        assert reports[-1]["protocol"].pop("data_hash") == tokens_hash(data, entries)
    assert captions[0] == captions[1] and len(captions[0]) == 5
    assert reports[0] == reports[1] and reports[0]["protocol"]["in_train"] == 0


def test_lengths_are_those_of_a_list(small, tmp_path):
    """Characters are counted, not bytes, and sums beyond 16 bits are right."""
    entries = [*made_up(50), Entry("ä" * 2000, (1,) * 70_000, plain="本" * 2000)]
    shards = written(tmp_path / "t", entries)
    for formula in (lambda codes, text, plain: codes + text // 4, lambda codes, text, plain: 40 * (text + plain)):
        order = np.random.default_rng(0).permutation(51)
        assert measured(shards, formula)[order].tolist() == measured(entries, formula)[order].tolist()
    assert len(measured(shards, formula)) == 51 and len(measured([], formula)) == 0


def test_a_bounded_part_is_spread_over_all(small, tmp_path):
    entries = made_up(100)
    shards = written(tmp_path / "t", entries)
    assert bounded(entries, 10) is entries and bounded(shards, 100) == entries
    assert bounded(shards, 10) == entries[::10]


# 2) Examples that are too long are found without reading all.


def test_entries_that_are_passed_over_fit(small, tmp_path):
    """No example of an entry that `may_be_long` leaves out has more than the limit; most are left out."""
    entries = made_up(200)
    shards, writer, rng = written(tmp_path / "t", entries), renderer(), np.random.default_rng(0)
    assert list(writer.may_be_long(entries, ["t2m"], 10_000, plain=False)) == entries
    limit = 260
    kept = set(writer.may_be_long(shards, TASKS, limit, plain=True))
    left_out = [entry for entry in entries if entry not in kept]
    assert len(left_out) > 60 and any(entry.text == entry.plain for entry in kept)
    for entry in left_out:
        for task in TASKS:
            if TABLE[task].takes(entry):
                assert max(len(writer.render(task, entry, rng)[0]) for _ in range(3)) <= limit
    assert not list(writer.may_be_long(shards, TASKS, 10_000, plain=True))


def test_an_example_that_does_not_fit_is_found_before_training(tiny, tmp_path):
    entries = [*load_tokens(tiny.data), Entry("walks", (1,) * 600, id="giant")]
    save_tokens(tmp_path / "t", entries, read_tokens_meta(tiny.data), "shards")
    with pytest.raises(ValueError, match="entry 'giant' may need .* tokens|entry 'giant' needs .* tokens"):
        tiny.finetune(tmp_path / "run", data=tmp_path / "t")


# 3) Memory.


def peak_of_reading(folder: Path, count: int) -> int:
    """The most bytes in Python and NumPy at once, from opening a corpus to 40 batches of two epochs."""
    corpus = (
        Entry(f"a person walks {i}", (i % 64,) * 20, split="val" if i % 50 == 0 else "train") for i in range(count)
    )
    write_shards(folder, corpus, META, shard_codes=20_000)  # 1,000 entries
    writer = renderer()
    tracemalloc.start()
    try:
        collate = TaskCollate(of_split(load_tokens(folder), "train"), {"t2m": 0.5, "m2t": 0.5}, writer)
        batches = BucketedBatches(collate.lengths(), 8, 0, collate)
        for step in (*range(20), *range(batches.per_epoch, batches.per_epoch + 20)):
            batches(step)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    """Five times the entries take 60 KB more, which are the maps of more shards; a list of 20,000 would take 12 MB."""
    monkeypatch.setattr("motiongpt.data.batches.LISTED", 0)
    monkeypatch.setattr("motiongpt.tasks.prompts.KEPT_TEXTS", 10)
    peak_of_reading(tmp_path / "warm", 1000)  # what is imported and cached at the first call
    few, many = peak_of_reading(tmp_path / "few", 5000), peak_of_reading(tmp_path / "many", 25_000)
    assert many < few + 200_000 and few < 3_000_000


def test_writing_holds_a_few_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(token_shards, "FLUSH", 100)
    peaks = []
    for count in (500, 5000):
        tracemalloc.start()
        write_shards(tmp_path / str(count), (Entry("walks", (1,) * 500) for _ in range(count)), META, 100_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]  # all 5,000 at once would be ten times as much


def test_ids_of_captions_are_kept_up_to_a_bound(monkeypatch):
    monkeypatch.setattr("motiongpt.tasks.prompts.KEPT_TEXTS", 3)
    writer = renderer()
    ids = [writer.encode(text) for text in TEXTS]
    assert [writer.encode(text) for text in TEXTS] == ids
    assert writer.encode(TEXTS[2]) is writer.encode(TEXTS[2]) and writer.encode(TEXTS[3]) is not writer.encode(TEXTS[3])


# 4) Writing: all or nothing.


@for_each(
    "changes, fault",
    [
        ({"codes": (1, 65_536)}, "codes|motions of one code or more, each 0 to 65535"),
        ({"codes": ()}, "motions of one code or more"),
        ({"source": (-1,)}, "motions of one code or more"),
        ({"text": "half \ud800"}, "half a character"),
        ({"participant": "\udfff"}, "half a character"),
        ({"id": "x" * 65_536}, "at most 65535 bytes"),
    ],
)
def test_an_entry_that_does_not_fit_is_named_and_nothing_is_left(tmp_path, changes, fault):
    entries = [Entry("a person walks", (1, 2)), Entry(**{"text": "waves", "codes": (3,), "id": "bad"} | changes)]
    with pytest.raises(ValueError, match=fault) as caught:
        write_shards(tmp_path / "t", entries, META)
    assert "bad" in str(caught.value) or "xxx" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_overwritten(tmp_path):
    with pytest.raises(ValueError, match="no entry to write"):
        write_shards(tmp_path / "t", [], META)
    write_shards(tmp_path / "t", made_up(3), META)
    with pytest.raises(FileExistsError, match="exists already"):
        write_shards(tmp_path / "t", made_up(3), META)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed writer is a fork of this process")
def test_a_killed_writer_leaves_nothing_that_passes_for_whole(small, tmp_path):
    """Killed at every sync and rename, and between entries. The next writer clears up."""
    entries = made_up(60)
    places = [f"fsync {number}" for number in range(12)] + [f"replace {number}" for number in range(4)] + ["entry 30"]
    killed = 0
    for place in places:
        if not (child := os.fork()):
            die_at(place)
            write_shards(tmp_path / "t", dying(entries) if place == "entry 30" else entries, META, 200)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        killed += status == 137
        if (tmp_path / "t").exists():
            assert list(open_shards(tmp_path / "t", Entry)) == entries
            shutil.rmtree(tmp_path / "t")
        else:
            assert status == 137
    assert killed > 13
    write_shards(tmp_path / "t", entries, META, 200)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def die_at(place: str) -> None:
    """In a child process: the call of os.fsync or os.replace with this number ends it as kill -9 does."""
    name, number = place.split()
    if name == "entry":
        return
    function, calls = getattr(os, name), iter(range(1000))
    setattr(os, name, lambda *given: os._exit(137) if next(calls) == int(number) else function(*given))


def dying(entries: list[Entry]):
    yield from entries[:30]
    os._exit(137)


# 5) Damage.


@pytest.mark.parametrize("name", ["00000.codes.npy", "00001.texts.npy", "00000.entries.npy", "tokens.meta.json"])
def test_a_damaged_file_is_named(small, tmp_path, name):
    """Cut short or with any byte changed. JSON may be spelt differently and still mean the same."""
    entries = made_up(40)
    shards = written(tmp_path / "t", entries, 100)
    path = tmp_path / "t" / name
    good = read_tokens_meta(tmp_path / "t")

    def read() -> object:
        return list(load_tokens(tmp_path / "t")) == list(shards) and read_tokens_meta(tmp_path / "t") == good

    check_mutations(path, read, sound=bool, least=25 if name.endswith("json") else 99)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load_tokens(tmp_path / "t")


def test_a_damaged_manifest_is_named(small, tmp_path):
    entries = made_up(40)
    written(tmp_path / "t", entries, 100)
    path = tmp_path / "t" / MANIFEST
    content = json.loads(path.read_text())

    # a changed hash makes its file the damaged one, and a changed name of a hash the check of that file void
    def sound(found: TokenShards) -> bool:
        return list(found) == entries

    check_mutations(path, lambda: load_tokens(tmp_path / "t"), sound=sound, names=tmp_path / "t", least=60)
    for change, fault in (
        ({"format": 2}, "has format 2, this version of the program reads 1"),
        ({"participants": ["P1", "P9"]}, "participants is not what was written there"),
        ({"shards": content["shards"][:1]}, "shards is not what was written there"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=fault):
            load_tokens(tmp_path / "t")


def test_a_file_of_another_shard_is_no_replacement(small, tmp_path):
    written(tmp_path / "t", made_up(40), 100)
    (tmp_path / "t" / "00000.codes.npy").write_bytes((tmp_path / "t" / "00001.codes.npy").read_bytes())
    with pytest.raises(ValueError, match="00000.codes.npy is damaged or replaced"):
        load_tokens(tmp_path / "t")


# 6) The rest of what a token data set can do.


def test_the_entry_with_a_code_outside_the_codebook_is_named(small, tmp_path):
    entries = made_up(80)
    entries[57] = Entry("waves", (1, 2), source=(3, 900))
    shards = written(tmp_path / "t", entries)
    assert shards.largest_code() == (900, 57)
    with pytest.raises(ValueError, match="entry 57: motion code 900 is outside the codebook of 64"):
        codebook_size(shards, tmp_path / "t", None)
    with pytest.raises(ValueError, match="--dedup"):
        dedup(shards)


def test_a_folder_may_have_any_name(small, tmp_path):
    """The folder of arrays is called codes, and its meta file lies above it."""
    written(tmp_path / "codes", made_up(5))
    assert meta_path(tmp_path / "codes") == tmp_path / "codes" / "tokens.meta.json"
    assert tokens_hash(tmp_path / "codes", []) != tokens_hash_of(tmp_path, made_up(5, seed=1))


def tokens_hash_of(folder: Path, entries: list[Entry]) -> str:
    write_shards(folder / "other", entries, META)
    return tokens_hash(folder / "other", [])


@pytest.mark.slow
def test_shards_of_a_data_set_hold_what_its_json_holds(script, tiny, tmp_path, monkeypatch):
    """With edits, and with windows of three clips."""
    command = ["prepare", "--from", "procedural", "--count", 6, "--edits", 3, "--out", tmp_path / "data"]
    assert script(*command).code == 0
    monkeypatch.setattr("motiongpt.stages.tokenizer.WINDOW", 3)
    for form, name in (("json", "t.json"), ("shards", "t")):
        done = script("tokenize_motions", "--data", tmp_path / "data", "--vqvae", tiny.vqvae, "--format", form,
                      "--out", tmp_path / name)  # fmt: skip
        assert done.code == 0, done
    shards, listed = (load_tokens(tmp_path / name) for name in ("t", "t.json"))
    assert list(shards) == listed and any(entry.source for entry in listed)
    metas = [read_tokens_meta(tmp_path / name) for name in ("t", "t.json")]
    assert metas[0] == {key: value for key, value in metas[1].items() if key != "tokens"}
    assert MotionTokenizer.load(tiny.vqvae).hash == metas[0]["vqvae"]
