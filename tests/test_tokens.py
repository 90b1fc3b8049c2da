"""The token dataset: every form an entry may have, and a named error for every form it may not."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from cases import for_each

from motiongpt.data.tokens import Entry, codebook_size, dedup, load_tokens, meta_path, read_tokens_meta, save_tokens
from motiongpt.data.training_captions import Prompts, prompt_table
from motiongpt.files.hashes import file_hash
from motiongpt.motion_tokenizer import MotionTokenizer


def write(folder: Path, content) -> Path:
    path = folder / "tokens.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def entry(**changes) -> dict:
    return {"text_query": "a person walks", "motion_tokens": "1 2 3"} | changes


def load_one(folder: Path, **changes) -> Entry:
    return load_tokens(write(folder, [entry(**changes)]))[0]


# 1) What is read.


@for_each(
    "tokens",
    ["1 2 3", [1, 2, 3], "<MOT_BEGIN><motion_1><motion_2><motion_3><MOT_END>", "<M1><M2><M3>", "1,2,3",
     "<motion_id_1> <motion_id_2> <motion_id_3>"],
)  # fmt: skip
def test_every_form_of_motion_tokens(tmp_path, tokens):
    assert load_one(tmp_path, motion_tokens=tokens).codes == (1, 2, 3)


def test_optional_fields(tmp_path):
    full = load_one(tmp_path, participant_id="P001", id="x7", split="test", word="ignored")
    assert full == Entry("a person walks", (1, 2, 3), "P001", "x7", "test")
    assert load_one(tmp_path) == Entry("a person walks", (1, 2, 3), None, "", "train")
    assert load_one(tmp_path, participant_id=7).participant == "7"
    assert load_one(tmp_path, participant_id=" ").participant is None
    assert load_one(tmp_path, text_query="  spaces  ").text == "spaces"


def test_word_is_read_only_where_there_is_no_text_query(tmp_path):
    path = write(tmp_path, [{"word": "hello", "motion_tokens": "1"}, entry(word="hello")])
    assert sorted(e.text for e in load_tokens(path)) == ["a person walks", "hello"]
    with pytest.raises(ValueError, match="text_query is missing or empty"):
        load_one(tmp_path, text_query="", word="hello")


def test_duplicates_are_kept_and_dedup_keeps_the_first(tmp_path):
    path = write(tmp_path, [entry(participant_id=p, motion_tokens=m) for p, m in (("A", "1"), ("B", "2"), ("A", "3"))])
    entries = load_tokens(path)
    assert len(entries) == 3
    assert [(e.participant, e.codes) for e in dedup(entries)] == [("A", (1,)), ("B", (2,))]


@pytest.mark.parametrize("name", ["tokens.json", "tokens.json.gz"])
def test_saving_and_loading_is_the_identity(tmp_path, name):
    entries = [
        Entry("a person walks", (1, 2), "P1", "a", "train"),
        Entry('quotes " and \\ and 🚶 and\nlines', (3,), None, "b", "val"),
    ]
    path = tmp_path / "deep" / name
    save_tokens(path, entries, {"codes": 9})
    assert load_tokens(path) == entries
    before = path.read_bytes()
    save_tokens(path, entries, {"codes": 9})
    assert path.read_bytes() == before  # a compressed file holds no time
    meta = json.loads(meta_path(path).read_text())
    assert meta == {"codes": 9, "tokens": meta["tokens"]} and read_tokens_meta(path) == meta
    assert meta_path(path).name == "tokens.meta.json"


# 2) What is refused, by entry and reason.


@for_each(
    "bad, message",
    [
        (entry(text_query=""), "text_query is missing or empty"),
        (entry(text_query=" \n"), "text_query is missing or empty"),
        (entry(text_query=None), "text_query is missing or empty"),
        (entry(text_query=["a"]), "text_query is missing or empty"),
        (entry(text_query="a" * 10_000), "10000 characters"),
        ({"motion_tokens": "1"}, "text_query is missing or empty"),
        ({"text_query": "a"}, "motion_tokens must be"),
        (entry(motion_tokens=""), "motion_tokens is empty"),
        (entry(motion_tokens="<MOT_BEGIN><MOT_END>"), "motion_tokens is empty"),
        (entry(motion_tokens=[]), "motion_tokens is empty"),
        (entry(motion_tokens="1 two"), "not a motion token: 'two'"),
        (entry(motion_tokens="-1"), "not a motion token: '-1'"),
        (entry(motion_tokens=[1, -2]), "codes start at 0"),
        (entry(motion_tokens=[1.5]), "motion_tokens must be"),
        (entry(motion_tokens=[True]), "motion_tokens must be"),
        (entry(motion_tokens=["1"]), "motion_tokens must be"),
        (entry(motion_tokens=[[1]]), "motion_tokens must be"),
        (entry(motion_tokens=5), "motion_tokens must be"),
        (entry(motion_tokens={"1": 2}), "motion_tokens must be"),
        (entry(split="dev"), "split must be train, val or test, got 'dev'"),
        (entry(participant_id=["P1"]), "participant_id must be a string"),
        ("a string", "expected an object"),
        (None, "expected an object"),
        ([1], "expected an object"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message) as error:
        load_tokens(write(tmp_path, [entry(), entry(), bad]))
    assert "tokens.json, entry 2" in str(error.value)
    assert "\n" not in str(error.value)


@for_each("content", ["[]", "{}", '"x"', "3", "null"])
def test_a_file_that_is_no_list_of_entries(tmp_path, content):
    with pytest.raises(ValueError, match="non-empty JSON list"):
        load_tokens(write(tmp_path, content))


def test_missing_and_malformed_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        load_tokens(tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="tokens.json, line 2"):
        load_tokens(write(tmp_path, '[\n{"text_query": }]'))
    whole = gzip.compress(b"[1]")
    for damaged in (b"[1]", whole[:-1], whole[:12] + b"\xff" + whole[13:]):
        (tmp_path / "t.json.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match="t.json.gz is damaged"):
            load_tokens(tmp_path / "t.json.gz")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(ValueError, match="latin.json"):
        load_tokens(tmp_path / "latin.json")


GOOD = json.dumps(entry())


@for_each(
    "content",
    [
        f"[\n{GOOD},\n{GOOD},\n{GOOD},\n// the rest is bad\n{GOOD}]",
        f"[\n{GOOD},\n{GOOD},\n{GOOD}\n// the rest is bad\n]",
        f"[\n{GOOD},\n{GOOD},\n\n{GOOD}, // this one is good\n{GOOD}]",
        f"[\n{GOOD},\n\n\n{GOOD}] // done",
        '[\n{\n"text_query": "a",\n\n// "word": "b",\n"motion_tokens": "1"}]',
        f"[\n\n\n\n/* none */{GOOD}]",
    ],
)
def test_a_comment_is_called_one(tmp_path, content):
    with pytest.raises(ValueError, match=r"tokens.json: JSON has no comments, line 5$"):
        load_tokens(write(tmp_path, content))


def test_a_web_address_is_not_taken_for_a_comment(tmp_path):
    with pytest.raises(ValueError, match="line 1: not valid JSON"):
        load_tokens(write(tmp_path, '[{"text_query": "http://example.org" "motion_tokens": "1"}]'))


# 3) The split.


def many(n: int) -> list[dict]:
    return [entry(text_query=f"caption {i}", id=str(i)) for i in range(n)]


@for_each("n, val", [(1, 0), (2, 1), (99, 1), (100, 1), (250, 2), (1000, 10)])
def test_one_percent_is_held_out_but_at_least_one(tmp_path, n, val):
    splits = [e.split for e in load_tokens(write(tmp_path, many(n)))]
    assert (splits.count("val"), splits.count("train")) == (val, n - val)


@pytest.mark.slow
def test_at_most_a_thousand_are_held_out(tmp_path):
    splits = [e.split for e in load_tokens(write(tmp_path, many(100_500)))]
    assert splits.count("val") == 1000


def test_the_split_depends_on_contents_and_seed_only(tmp_path):
    def held_out(content, seed: int = 42) -> set[str]:
        return {e.text for e in load_tokens(write(tmp_path, content), seed) if e.split == "val"}

    content = many(500)
    assert held_out(content) == held_out(content) == held_out(content[::-1])
    assert held_out(content) != held_out(content, 43)


@pytest.mark.parametrize("captions", [1, 3, 7])
def test_held_out_entries_are_spread_over_the_captions(tmp_path, captions):
    """10 of 1,000 entries: all ten having one caption has odds of 3^-9, and training keeps every caption."""
    content = [entry(text_query=f"caption {i % captions}", motion_tokens=f"{i} 1") for i in range(1000)]
    entries = load_tokens(write(tmp_path, content))
    held_out = [e.text for e in entries if e.split == "val"]
    assert len(held_out) == 10 and len(set(held_out)) >= min(captions, 2)
    assert {e.text for e in entries if e.split == "train"} == {f"caption {i}" for i in range(captions)}


def test_a_failed_write_leaves_the_former_tokens(tmp_path):
    path = tmp_path / "tokens.json"
    save_tokens(path, [Entry("a", (1,))], {"codes": 2})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="half a character"):
        save_tokens(path, [Entry("half a character \udcff", (1,))], {"codes": 2})
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tokens.json", "tokens.meta.json"]


@pytest.mark.parametrize("name", ["tokens.json", "tokens.json.gz"])
def test_codes_and_meta_file_prove_that_they_belong_together(tmp_path, name, monkeypatch):
    """Also after a kill between the two renames of a second tokenisation, whichever comes first."""
    path = tmp_path / name
    former, later = ([Entry("a", (1,))], {"codes": 9, "vqvae": "a"}), ([Entry("a", (2,))], {"codes": 9, "vqvae": "b"})
    content = {}
    for entries, meta in (former, later):
        save_tokens(path, entries, meta)
        content[meta["vqvae"]] = (path.read_bytes(), meta_path(path).read_bytes())
        assert read_tokens_meta(path)["vqvae"] == meta["vqvae"]
    for codes, meta in (("a", "b"), ("b", "a")):
        path.write_bytes(content[codes][0])
        meta_path(path).write_bytes(content[meta][1])
        for read in (read_tokens_meta, lambda p: codebook_size(load_tokens(p), p, None)):
            with pytest.raises(ValueError, match=f"tokens.meta.json was not written with the {name} beside it"):
                read(path)
    known = json.loads(meta_path(path).read_text())
    del known["tokens"]  # as the oldest versions wrote it, and as somebody who edits codes may
    meta_path(path).write_text(json.dumps(known))
    assert read_tokens_meta(path) == known
    # packing is no edit
    save_tokens(path, *former)
    plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    (tmp_path / "tokens.json").write_bytes(plain)
    assert read_tokens_meta(tmp_path / "tokens.json") == read_tokens_meta(path) != {}


def test_captions_may_be_edited_and_codes_may_not(tmp_path):
    path = tmp_path / "tokens.json"
    save_tokens(path, [Entry("a", (1, 2), None, "x"), Entry("b", (1, 2), None, "x")], {"codes": 9})
    meta, text = read_tokens_meta(path), path.read_text()
    path.write_text(text.replace('"a"', '"A person walks."').replace("\n", "\r\n"))
    assert read_tokens_meta(path) == meta and load_tokens(path)[0].text == "A person walks."
    records = json.loads(text)
    path.write_text(json.dumps([*records, records[0] | {"text_query": "one caption more"}], indent=4))
    assert read_tokens_meta(path) == meta
    for wrong in ({"motion_tokens": "1 3"}, {"id": "y"}):
        path.write_text(json.dumps([records[0] | wrong, *records[1:]]))
        with pytest.raises(ValueError, match="an edit of ids or codes"):
            read_tokens_meta(path)
    # a meta file of an older version knows the whole file: it is accepted beside that file alone
    path.write_text(text)
    meta_path(path).write_text(json.dumps(meta | {"tokens": file_hash(path)}))
    assert read_tokens_meta(path)["codes"] == 9
    path.write_text(text.replace('"a"', '"c"'))
    with pytest.raises(ValueError, match="was not written with"):
        read_tokens_meta(path)


def test_given_splits_are_left_alone(tmp_path):
    entries = load_tokens(write(tmp_path, [entry(split="train")] * 50 + [entry(split="test")]))
    assert [e.split for e in entries] == ["train"] * 50 + ["test"]


# 4) The codebook.


def test_codebook_size_and_who_says_so(tmp_path):
    path = write(tmp_path, [entry(), entry(motion_tokens="0 7")])
    entries = load_tokens(path)
    assert codebook_size(entries, path, None) == (8, "largest code + 1")
    meta_path(path).write_text('{"codes": 12}')
    assert codebook_size(entries, path, None) == (12, "tokens.meta.json")
    assert codebook_size(entries, path, 16) == (16, "--codes")


def test_a_code_outside_the_codebook_names_its_entry(tmp_path):
    path = write(tmp_path, [entry(), entry(motion_tokens="0 7")])
    with pytest.raises(ValueError, match=r"entry 1: motion code 7 is outside the codebook of 7 \(--codes\)"):
        codebook_size(load_tokens(path), path, 7)
    meta_path(path).write_text('{"codes": 4}')
    with pytest.raises(ValueError, match=r"of 4 \(tokens.meta.json\)"):
        codebook_size(load_tokens(path), path, None)


@pytest.mark.parametrize("content", ["{}", '{"codes": "many"}', '{"codes": null}'])
def test_a_meta_file_without_codes_is_a_named_error(tmp_path, content):
    path = write(tmp_path, [entry()])
    meta_path(path).write_text(content)
    with pytest.raises(ValueError, match="tokens.meta.json: codes must be"):
        codebook_size(load_tokens(path), path, None)


def test_a_typing_error_does_not_make_a_table_of_a_billion_rows(tmp_path):
    path = write(tmp_path, [entry(), entry(motion_tokens="1000000000")])
    with pytest.raises(ValueError, match="entry 1: a codebook of 1000000001"):
        codebook_size(load_tokens(path), path, None)


# 5) What sampling remembers.


def test_prompt_table_of_the_training_split():
    def e(text: str, codes, split: str = "train") -> Entry:
        return Entry(text, tuple(codes), split=split)

    entries = [e("walk", [3, 1]), e("walk", [1] * 5), e("walk", [9, 1, 1]), e("jump", [4] * 4), e("jump", [2] * 7),
               e("walk", [30] * 50, "val"), e("sit", [31], "test")]  # fmt: skip
    # lengths 2 3 5 and 4 7; the median of an even number is the mean of the middle two, rounded down (5.5 -> 5);
    # the global median of 2 3 4 5 7 is 4
    assert prompt_table(entries) == {
        "global_median": 4,
        "captions": {
            "walk": {"median": 3, "min": 2, "max": 5, "codes": [1, 3, 9]},
            "jump": {"median": 5, "min": 4, "max": 7, "codes": [2, 4]},
        },
    }


def test_prompts_are_found_with_case_and_spaces_folded():
    one, two = {"median": 1}, {"median": 2}
    prompts = Prompts({"global_median": 3, "captions": {"A person walks": one, "a person walks": two}})
    assert prompts.find("a person walks") is two  # exactly first
    assert prompts.find("  A PERSON\twalks ") is one
    assert prompts.find("a person runs") is None
    with pytest.raises(ValueError, match="prompts.json must have"):
        Prompts({"captions": {}})


# 6) Data of the shape people have.


def test_real_sign_shaped_data(shared_data):
    path = shared_data / "signmotion" / "signmotion_1000.json"
    entries = load_tokens(path)
    assert len(entries) == 1000
    size, origin = codebook_size(entries, path, None)
    assert size <= 512 and origin == "largest code + 1"
    assert len({e.participant for e in entries}) == 19
    assert {e.split for e in entries} >= {"train", "val"}
    table = prompt_table(entries)
    assert set(table["captions"]) == {e.text for e in entries if e.split == "train"}


@pytest.mark.parametrize("name, kept", [("signmotion_1000", 218), ("signmotion_1000_unique_word", 1000)])
def test_the_ancestors_dedup_on_sign_shaped_data(shared_data, name, kept):
    """The ancestor keeps one entry per (word, participant), as we do if the word is the caption."""
    content = json.loads((shared_data / "signmotion" / f"{name}.json").read_text())
    assert len(dedup([Entry(item["word"], (0,), item["participant_id"]) for item in content])) == kept


def test_a_new_caption_gets_the_length_of_captions_like_it():
    lengths = {"a person walks forward": 40, "a man walks ahead": 44, "a person waves": 12, "a woman waves twice": 16}
    entries = [Entry(text, (1,) * length) for text, length in lengths.items()]
    prompts = Prompts(prompt_table(entries))
    assert prompts.expected_length("a person walks forward") == 40  # known: its own
    assert prompts.expected_length("A person  waves") == 12
    several = Prompts(prompt_table([Entry(f"{who} {text}", codes) for who in ("a boy", "a girl", "someone", "a king",
                      "an actor") for text, codes in (("walks", (1,) * 40), ("waves", (1,) * 12))]))  # fmt: skip
    assert several.expected_length("a queen is walking") == 40 and several.expected_length("waving") == 12
    assert several.expected_length("Somebody waves!") == 12 and several.expected_length("(walking)") == 40
    assert prompts.expected_length("a zorb") == prompts.global_median  # "a" says nothing about the motion
    assert prompts.expected_length("zzz") == prompts.global_median  # training has seen none of its words
    assert Prompts({"global_median": 9, "captions": {}}).expected_length("walks") == 9


def test_of_captions_as_like_the_first_count():
    """Six captions are equally like the sentence: the first five count, not the five longest."""
    entries = [Entry(f"{who} walks", (1,) * n) for n, who in enumerate("uvwxyz", 1)]
    prompts = Prompts(prompt_table([*entries, Entry("k waves", (1,) * 90)]))
    assert prompts.expected_length("walking") == 3


def test_the_likeness_is_the_cosine_of_rarities():
    """Compared with the formula, word by word, over random sentences."""
    rng = np.random.default_rng(0)
    verbs = "walk jump sit turn run kick clap left right bend".split()  # each its own stem
    texts = {" ".join(rng.choice(verbs, size=rng.integers(1, 6))): int(n) for n in rng.integers(1, 99, size=80)}
    prompts = Prompts(prompt_table([Entry(text, (1,) * n) for text, n in texts.items()]))
    sets = {text: set(text.split()) for text in texts}
    rare = {verb: math.log((len(texts) + 1) / sum(verb in have for have in sets.values())) for verb in verbs}

    def like(text: str, query: set[str]) -> float:
        norm = math.sqrt(math.fsum(rare[word] for word in sets[text]))
        return sum(rare[word] for word in sorted(sets[text] & query)) / norm

    for _ in range(50):
        query = {str(verb) for verb in rng.choice(verbs, size=3)}
        best = sorted(texts, key=lambda text: -like(text, query))[:5]
        assert prompts.expected_length(" ".join(sorted(query)) + " zzz") == sorted(texts[text] for text in best)[2]


# 7) The forms of other projects.

INSTRUCTION = "Generate a sequence of motion tokens matching the following human motion description"


def rows(clip: str, text: str, codes: str) -> list[dict]:
    """The four rows of a clip, as generate_dataset.py of qiqiApink's MotionGPT writes them."""
    first, last = codes.split(",")[0], codes.split(",")[-1]
    inputs = {".": text, " given the initial token.": f"{text}<Motion Token>{first}</Motion Token>",
              " given the last token.": f"{text}<Motion Token>{last}</Motion Token>",
              " given several key tokens.": f"{text}<Motion Token>{first},{last}</Motion Token>"}  # fmt: skip
    common = {"output": codes, "motion": clip, "length": codes.count(",") + 1}
    return [{"instruction": INSTRUCTION + end, "input": given} | common for end, given in inputs.items()]


def test_instructions_give_their_text_to_motion_rows(tmp_path):
    lines = []
    content = rows("000001", "a person walks", "315,91,406") + rows("M000002", "he sits", "7")
    path = write(tmp_path, content)
    entries = load_tokens(path, say=lines.append)
    assert [(e.id, e.text, e.codes) for e in entries] == [
        ("000001", "a person walks", (315, 91, 406)), ("M000002", "he sits", (7,))
    ]  # fmt: skip
    assert lines == [f"{path}: 6 of 8 rows skipped, they are other tasks than text to motion"]
    assert [e.split for e in entries].count("val") == 1
    # with markers around the output too
    marked = [rows("x", "a", "5")[0] | {"output": "<Motion Token>315,91</Motion Token>"}]
    assert load_tokens(write(tmp_path, marked), say=lines.append)[0].codes == (315, 91)
    assert len(lines) == 1


def test_a_folder_of_instructions_has_its_splits(tmp_path):
    for split, clip in (("train", "a"), ("val", "b")):
        (tmp_path / f"{split}.json").write_text(json.dumps(rows(clip, "a person walks", "1,2")))
    assert [(e.id, e.split) for e in load_tokens(tmp_path, say=lambda line: None)] == [("a", "train"), ("b", "val")]
    (tmp_path / "val.json").write_text("{}")
    with pytest.raises(ValueError, match="val.json: expected a list of rows"):
        load_tokens(tmp_path, say=lambda line: None)


@for_each(
    "bad, message",
    [
        ({"output": "1,two"}, "entry 1: motion_tokens: not a motion token: 'two'"),
        ({"output": ""}, "entry 1: motion_tokens is empty"),
        ({"output": [1, 2]}, "entry 1: expected an object with the texts instruction, input and output"),
        ({"input": ""}, "entry 1: text_query is missing or empty"),
        ({"input": None}, "entry 1: expected an object"),
    ],
)
def test_a_bad_instruction_is_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        load_tokens(write(tmp_path, [rows("a", "x", "1")[0], rows("b", "y", "2")[0] | bad]))


def test_only_other_tasks(tmp_path):
    with pytest.raises(ValueError, match="has no motion with a caption"):
        load_tokens(write(tmp_path, rows("a", "x", "1")[1:]), say=lambda line: None)


def code_folder(folder: Path, name: str = "VQVAE") -> Path:
    """Like the folders of T2M-GPT and OpenMotionLab's MotionGPT: VQVAE/ID.npy (1, S)."""
    (folder / name).mkdir(parents=True)
    (folder / "texts").mkdir()
    np.save(folder / name / "000001.npy", np.arange(20, dtype=np.int32)[None])
    np.save(folder / name / "000002.npy", np.array([5, 6, 7]))
    np.save(folder / name / "000003.npy", np.array([9]))
    (folder / "texts" / "000001.txt").write_text(
        "a person walks#a/DET person/NOUN walk/VERB#0.0#0.0\nthen jumps#then/ADV#1.0#2.5\nfor a blink#x/X#0.1#0.15\n"
    )
    (folder / "texts" / "000002.txt").write_text("he sits#he/PRON sit/VERB#nan#nan\n")
    (folder / "texts" / "000003.txt").write_text("short#short/ADJ#0.0#0.0\n")
    (folder / "train.txt").write_text("000001\n000003\nnowhere\n")
    (folder / "val.txt").write_text("000002\n")
    return folder


def test_a_folder_of_code_arrays(tmp_path):
    """Timed captions are pieces int(start fps / 4) to int(end fps / 4), as in OpenMotionLab's dataset_t2m_cb.py."""
    lines = []
    entries = load_tokens(code_folder(tmp_path), say=lines.append)
    assert entries == [
        Entry("a person walks", tuple(range(20)), None, "000001", "train"),
        Entry("then jumps", tuple(range(5, 12)), None, "000001", "train"),  # 1.0 s and 2.5 s at 5 codes a second
        Entry("short", (9,), None, "000003", "train"),
        Entry("he sits", (5, 6, 7), None, "000002", "val"),
    ]
    assert lines == [f"{tmp_path}: skipped 1 captions of no code, 1 clips without captions"]
    assert load_tokens(tmp_path / "VQVAE", say=lines.append) == entries  # a second folder of codes can be named
    assert codebook_size(entries, tmp_path, None) == (20, "largest code + 1")
    np.save(tmp_path / "Mean.npy", np.zeros(251))  # KIT-ML: 12.5 fps, 3.125 codes a second
    assert load_tokens(tmp_path, say=lines.append)[1].codes == tuple(range(3, 7))
    (tmp_path / "tokens.meta.json").write_text('{"codes": 64, "fps": 30, "frames_per_code": 4}')
    assert load_tokens(tmp_path, say=lines.append)[1].codes == tuple(range(7, 18))
    for path in (tmp_path, tmp_path / "VQVAE"):
        assert codebook_size(entries, path, None) == (64, "tokens.meta.json")


def test_a_folder_without_splits_and_with_people(tmp_path):
    code_folder(tmp_path, "codes")
    (tmp_path / "train.txt").unlink(), (tmp_path / "val.txt").unlink()
    (tmp_path / "participants.json").write_text('{"000001": "P7"}')
    entries = load_tokens(tmp_path, say=lambda line: None)
    assert [e.participant for e in entries] == ["P7", "P7", None, None]
    assert [e.split for e in entries].count("val") == 1


@for_each(
    "array, found",
    [
        (np.zeros((2, 3), int), r"\(2, 3\)"), (np.zeros(3), "float64"), (np.array(3), r"\(\)"),
        (np.array(["a"]), "<U1"), (np.zeros((1, 2, 3), int), r"\(1, 2, 3\)"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_codes(tmp_path, array, found):
    np.save(code_folder(tmp_path) / "VQVAE" / "000002.npy", array)
    with pytest.raises(
        ValueError, match=rf"000002.npy: expected whole numbers of shape \(S,\) or \(1, S\), got .*{found}"
    ):
        load_tokens(tmp_path, say=lambda line: None)


def test_folders_that_are_no_tokens(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder of tokens: expected codes/ID.npy"):
        load_tokens(tmp_path)
    code_folder(tmp_path)
    np.save(tmp_path / "VQVAE" / "000002.npy", np.array([3, -1]))
    with pytest.raises(ValueError, match="000002.npy: motion_tokens holds -1"):
        load_tokens(tmp_path, say=lambda line: None)
    (tmp_path / "VQVAE" / "000002.npy").write_bytes(np.lib.format.MAGIC_PREFIX + b"\x01\x00 nothing")
    with pytest.raises(ValueError, match="000002.npy is not a readable"):
        load_tokens(tmp_path, say=lambda line: None)
    (tmp_path / "VQVAE" / "000002.npy").write_bytes(  # a header that claims a terabyte
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<i8', 'fortran_order': False, 'shape': (137438953472,), }".ljust(117)
        + b"\n"
    )
    with pytest.raises(ValueError, match="000002.npy is not a readable"):
        load_tokens(tmp_path, say=lambda line: None)
    (tmp_path / "codes").mkdir()
    with pytest.raises(ValueError, match="has both codes and VQVAE"):
        load_tokens(tmp_path)


def test_a_written_folder_reads_as_the_json_does(tmp_path):
    entries = [
        Entry("a person walks", (1, 2, 3), "P1", "a", "train"),
        Entry("someone # walks", (1, 2, 3), "P1", "a", "train"),
        Entry("then jumps", (8, 9), "P1", "a", "train"),  # a timed caption has codes of its own
        Entry("another", (4,), None, "a_1", "train"),  # the name the piece above would get
        Entry("he sits", (5, 6), None, "deep/b", "val"),
    ]
    folder = tmp_path / "tokens"
    save_tokens(folder, entries, {"codes": 16}, "npy")
    found = load_tokens(folder)
    assert sorted((e.text, e.codes, e.participant, e.split) for e in found if e.participant) == sorted(
        (e.text, e.codes, e.participant, e.split) for e in entries if e.participant
    )
    assert [e.id for e in found] == ["a", "a", "a_2", "a_1", "deep/b"]
    codes = np.load(folder / "codes" / "a.npy")
    assert codes.dtype == np.int64 and codes.tolist() == [1, 2, 3]
    assert (folder / "texts" / "a.txt").read_text() == "a person walks##0.0#0.0\nsomeone # walks##0.0#0.0\n"
    assert codebook_size(found, folder, None) == (16, "tokens.meta.json")
    with pytest.raises(FileExistsError, match="exists already"):
        save_tokens(folder, entries, {}, "npy")
    for bad in ("../x", "/tmp/x"):
        with pytest.raises(ValueError, match="leads out of the folder"):
            save_tokens(tmp_path / "bad", [Entry("a", (1,), None, bad)], {}, "npy")
    assert [p.name for p in tmp_path.iterdir()] == ["tokens"]


def test_training_takes_a_folder_of_codes(tiny, tmp_path):
    save_tokens(tmp_path / "tokens", load_tokens(tiny.data), json.loads(meta_path(tiny.data).read_text()), "npy")
    stage = tiny.finetune(tmp_path / "run", data=tmp_path / "tokens", vqvae=tiny.vqvae)
    assert (stage / "meta.json").is_file()
    other = json.loads((tiny.run / "prompts.json").read_text())
    assert json.loads((tmp_path / "run" / "prompts.json").read_text()) == other


# 8) Tokenising.


@pytest.mark.parametrize("quantizer", ["demo", "tiny"])
def test_a_clip_has_the_same_codes_in_a_batch_as_alone(tiny, quantizer):
    """Batches are sorted by length and padded, and not one code may differ; lengths around multiples of 4, and 0."""
    folder = tiny.vqvae if quantizer == "tiny" else Path(__file__).parents[1] / "checkpoints" / "demo" / "vqvae"
    tokenizer = MotionTokenizer.load(folder)
    rng = np.random.default_rng(0)
    mean, std = np.asarray(tokenizer.normalizer.mean), np.asarray(tokenizer.normalizer.std)
    lengths = [0, 3, 4, 5, 7, 8, *rng.integers(9, 197, 44)]  # two batches
    clips = [(mean + std * rng.standard_normal((n, 263)).cumsum(0) / 4).astype(np.float32) for n in lengths]
    together = tokenizer.encode(clips)
    assert together == [tokenizer.encode([clip])[0] for clip in clips]
    assert [len(row) for row in together] == [n // 4 for n in lengths]
    assert len({code for row in together for code in row}) > 4  # not one code throughout


def test_the_command_writes_both_forms(script, tiny, tmp_path):
    """Both have the same captions, codes, people and splits, timed ones included, and equal encoding clip by clip."""
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for sub in ("new_joint_vecs", "texts"):
        (data / sub).mkdir(parents=True)
    for i in range(6):
        np.save(data / "new_joint_vecs" / f"c{i}.npy", 0.1 * rng.standard_normal((50 + 7 * i, 263)).astype(np.float32))
        (data / "texts" / f"c{i}.txt").write_text(f"walks {i}#walk/VERB#0.0#0.0\nturns#turn/VERB#0.5#1.7\n")
    (data / "train.txt").write_text("c0\nc1\nc2\nc3\n")
    (data / "val.txt").write_text("c4\nc5\n")
    (data / "participants.json").write_text(json.dumps({f"c{i}": f"P{i % 2}" for i in range(5)}))
    np.save(data / "Mean.npy", np.zeros(263)), np.save(data / "Std.npy", np.ones(263))
    common = ("--data", data, "--vqvae", tiny.vqvae, "--device", "cpu")
    assert script("tokenize_motions", *common, "--out", tmp_path / "tokens.json").code == 0
    done = script("tokenize_motions", *common, "--out", tmp_path / "tokens", "--format", "npy")
    assert done.code == 0, done.err

    def content(path: Path) -> list[tuple]:
        return sorted((e.text, e.codes, e.participant or "", e.split) for e in load_tokens(path))

    assert content(tmp_path / "tokens.json") == content(tmp_path / "tokens") and len(content(tmp_path / "tokens")) == 12
    assert {e.participant for e in load_tokens(tmp_path / "tokens")} == {"P0", "P1", None}
    meta = json.loads((tmp_path / "tokens" / "tokens.meta.json").read_text())
    proof = {"tokens": read_tokens_meta(tmp_path / "tokens.json")["tokens"]}
    assert meta | proof == json.loads((tmp_path / "tokens.meta.json").read_text())
    tokenizer = MotionTokenizer.load(tiny.vqvae)
    clip = np.load(data / "new_joint_vecs" / "c3.npy")
    assert np.load(tmp_path / "tokens" / "codes" / "c3.npy").tolist() == tokenizer.encode([clip])[0]
    assert np.load(tmp_path / "tokens" / "codes" / "c3_1.npy").tolist() == tokenizer.encode([clip[10:34]])[0]
    done = script("tokenize_motions", *common, "--out", tmp_path / "tokens", "--format", "npy")
    assert done.code == 2 and "exists already" in done.err


@pytest.mark.parametrize("key", ["text_query", "participant_id", "id"])
def test_half_a_character_is_named_with_its_entry(tmp_path, key):
    entry = {"text_query": "he walks", "motion_tokens": "1 2", "participant_id": "P1", "id": "a"}
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([entry, entry | {key: "x \ud83d"}]))
    with pytest.raises(ValueError, match=rf"tokens.json, entry 1: {key} has half a character .*'x \\ud83d'"):
        load_tokens(path)
    with pytest.raises(ValueError, match=r"out.json: half a character .*Entry.text='he .ud83d'"):
        save_tokens(tmp_path / "out.json", [Entry("he \ud83d", (1,))], {})
