"""The token dataset: every form an entry may have, and a named error for every form it may not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from motiongpt.data.tokens import (
    Entry,
    Prompts,
    codebook_size,
    dedup,
    load_tokens,
    meta_path,
    prompt_table,
    save_tokens,
)


def write(folder: Path, content) -> Path:
    path = folder / "tokens.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def entry(**changes) -> dict:
    return {"text_query": "a person walks", "motion_tokens": "1 2 3"} | changes


def load_one(folder: Path, **changes) -> Entry:
    return load_tokens(write(folder, [entry(**changes)]))[0]


# 1) What is read.


@pytest.mark.parametrize(
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


def test_saving_and_loading_is_the_identity(tmp_path):
    entries = [
        Entry("a person walks", (1, 2), "P1", "a", "train"),
        Entry('quotes " and \\ and 🚶 and\nlines', (3,), None, "b", "val"),
    ]
    path = tmp_path / "deep" / "tokens.json"
    save_tokens(path, entries, {"codes": 9})
    assert load_tokens(path) == entries
    assert json.loads(meta_path(path).read_text()) == {"codes": 9}
    assert meta_path(path).name == "tokens.meta.json"


# 2) What is refused, by entry and reason.


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("content", ["[]", "{}", '"x"', "3", "null"])
def test_a_file_that_is_no_list_of_entries(tmp_path, content):
    with pytest.raises(ValueError, match="non-empty JSON list"):
        load_tokens(write(tmp_path, content))


def test_missing_and_malformed_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        load_tokens(tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="tokens.json, line 2"):
        load_tokens(write(tmp_path, '[\n{"text_query": }]'))
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(ValueError, match="latin.json"):
        load_tokens(tmp_path / "latin.json")


GOOD = json.dumps(entry())


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("n, val", [(1, 0), (2, 1), (99, 1), (100, 1), (250, 2), (1000, 10)])
def test_one_percent_is_held_out_but_at_least_one(tmp_path, n, val):
    splits = [e.split for e in load_tokens(write(tmp_path, many(n)))]
    assert (splits.count("val"), splits.count("train")) == (val, n - val)


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
    """10 of 1,000 entries of so many captions: the same caption ten times has odds of 3^-9, and none goes untrained."""
    content = [entry(text_query=f"caption {i % captions}", motion_tokens=f"{i} 1") for i in range(1000)]
    entries = load_tokens(write(tmp_path, content))
    held_out = [e.text for e in entries if e.split == "val"]
    assert len(held_out) == 10 and len(set(held_out)) >= min(captions, 2)
    assert {e.text for e in entries if e.split == "train"} == {f"caption {i}" for i in range(captions)}


def test_a_failed_write_leaves_the_former_tokens(tmp_path):
    path = tmp_path / "tokens.json"
    save_tokens(path, [Entry("a", (1,))], {"codes": 2})
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        save_tokens(path, [Entry("half a character \udcff", (1,))], {"codes": 2})
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tokens.json", "tokens.meta.json"]


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
    """The ancestor keeps one entry per (word, participant): the same here where the word is the caption."""
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
    assert prompts.expected_length("zzz") == prompts.global_median  # no word of it was ever seen
    assert Prompts({"global_median": 9, "captions": {}}).expected_length("walks") == 9


def test_of_captions_as_like_the_first_count():
    """Six captions are equally like the sentence: the first five count, not the five longest."""
    entries = [Entry(f"{who} walks", (1,) * n) for n, who in enumerate("uvwxyz", 1)]
    prompts = Prompts(prompt_table([*entries, Entry("k waves", (1,) * 90)]))
    assert prompts.expected_length("walking") == 3


def test_the_likeness_is_the_cosine_of_rarities():
    """Against the formula, word by word, over random sentences."""
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
