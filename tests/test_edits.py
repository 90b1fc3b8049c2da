"""Pairs of motions and the sentence between them: drawn, performed, written, tokenised, read."""

import collections
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import for_each

from motiongpt.data.edits import Edit, read_edits, split_of_edits, write_edits
from motiongpt.data.motions import MotionDataset
from motiongpt.data.token_formats import write_instructions
from motiongpt.data.tokens import (
    Entry,
    codebook_size,
    dedup,
    load_tokens,
    meta_path,
    plain_entries,
    read_tokens_meta,
    save_tokens,
    to_records,
)
from motiongpt.data.training_captions import prompt_table
from motiongpt.faithfulness.judge import does, performs
from motiongpt.faithfulness.measures import Measures
from motiongpt.procedural.clips import MAX_FRAMES, MIN_FRAMES, generate_clip
from motiongpt.procedural.edit_phrases import EDIT_PHRASES
from motiongpt.procedural.edits import KINDS, make_pair
from motiongpt.procedural.performer import SIZES, STYLES, TEMPOS
from motiongpt.procedural.recipes import Recipe, Step, make_recipe_clip, play

FIELDS = set("do doing does kept kept_ing old old_ing side part on times".split())
SEED = 11


@pytest.fixture(scope="module")
def pairs():
    """200 pairs by their kind."""
    found = collections.defaultdict(list)
    for index in range(200):
        pair = make_pair(index, SEED)
        found[pair.kind].append(pair)
    return found


def recipe(*steps: Step, style: int = 0) -> Recipe:
    return Recipe("clip", SEED, 0, style, "train", steps)


def clips_of(pair):
    return make_recipe_clip(pair.source), make_recipe_clip(pair.target)


# ---- drawing ----------------------------------------------------------------------------------------------------


def test_a_pair_is_a_function_of_seed_and_index(pairs):
    assert set(pairs) == set(KINDS)
    for first, *_ in pairs.values():
        assert make_pair(first.source.index, SEED) == first
    assert make_pair(7, SEED).source.steps != make_pair(7, SEED + 1).source.steps
    one, again = (make_recipe_clip(make_pair(7, SEED).target) for _ in range(2))
    assert one.joints.tobytes() == again.joints.tobytes() and one.captions == again.captions


def test_both_clips_of_a_pair_fit_and_are_of_one_split(pairs):
    every = [pair for several in pairs.values() for pair in several]
    for pair in every:
        assert pair.source.split == pair.target.split and pair.source.style == pair.target.style
        assert pair.source.steps != pair.target.steps
        for one in (pair.source, pair.target):
            assert MIN_FRAMES <= len(play(one).track) <= MAX_FRAMES
    splits = collections.Counter(pair.source.split for pair in every)
    assert splits["train"] > 150 and splits["val"] and splits["test"]
    assert len({pair.source.style for pair in every}) == len(STYLES)


def test_pairs_share_no_draws_with_the_ordinary_clips():
    ordinary = np.random.default_rng([SEED, 0]).random(4)
    for draws in range(4):
        assert not np.isin(recipe().rng(draws).random(4), ordinary).any()


def test_steps_keep_their_draws_whatever_is_around_them():
    """What a step shows depends on nothing but the step: the frames are the same, alone and in company."""
    walk, wave = Step("walk_forward", 2), Step("wave_left", 3, size="large")
    both, swapped = play(recipe(walk, wave)), play(recipe(wave, walk))
    for step, at in ((walk, 0), (wave, 1)):
        alone = play(recipe(step))
        for played, part in ((both, both.performed[at]), (swapped, swapped.performed[1 - at])):
            assert part.facts == alone.performed[0].facts and part.end - part.start == len(alone.track)
            np.testing.assert_allclose(
                np.diff(played.track.root[part.start : part.end], axis=0),
                np.diff(alone.track.root, axis=0),
                atol=1e-6,  # metres: a joined track is moved to where the one before has ended
            )


def test_a_count_changes_nothing_else():
    played = play(recipe(Step("squat", 2)))
    fixed = played.counted().steps[0]
    assert fixed.count == played.performed[0].facts["count"]
    assert play(recipe(fixed)).track.lift.tobytes() == played.track.lift.tobytes()
    once, thrice = (play(recipe(replace(fixed, count=count))) for count in (1, 3))
    n = len(once.track) - 12  # the pause after it is not part of the movement
    np.testing.assert_array_equal(once.track.lift[:n], thrice.track.lift[:n])
    assert [p.performed[0].facts["count"] for p in (once, thrice)] == [1, 3]


# ---- what the twins show ----------------------------------------------------------------------------------------


def test_the_other_side_is_shown(pairs):
    for pair in pairs["other side"]:
        source, target = clips_of(pair)
        ((i, old, new),) = [
            (i, a, b) for i, (a, b) in enumerate(zip(source.actions, target.actions, strict=True)) if a != b
        ]
        assert {old.rpartition("_")[2], new.rpartition("_")[2]} == {"left", "right"}
        assert len(source.joints) == len(target.joints)
        if len(source.actions) == 1:
            assert performs(old, source.joints) and performs(new, target.joints)
            assert not performs(old, target.joints)


def test_faster_is_shorter(pairs):
    for kind, order in (("faster", 1), ("slower", -1)):
        for pair in pairs[kind]:
            source, target = (play(one) for one in (pair.source, pair.target)[::order])
            assert len(target.track) <= 0.9 * len(source.track)
            assert [p.facts.get("count") for p in source.performed] == [p.facts.get("count") for p in target.performed]


@for_each("name", ["walk_forward", "walk_backward", "walk_sideways_left", "walk_circle_right"])
def test_a_faster_walk_is_the_same_way_in_less_time(name):
    for draws in range(2, 8):
        slow, normal, quick = (play(recipe(Step(name, draws, tempo=tempo))).track for tempo in TEMPOS)
        way = [np.linalg.norm(np.diff(t.root, axis=0), axis=1).sum() for t in (slow, normal, quick)]
        # steps and ramps are whole frames; a walk of as many seconds would go 35 or 40 % farther
        assert way == pytest.approx([way[1]] * 3, rel=0.2)
        assert len(quick) < 0.8 * len(normal) < 0.65 * len(slow)


def test_sizes_show():
    """Bigger movements of the same draws reach farther, smaller ones less far."""
    for name, far in (
        ("jump", lambda m: m.feet.min(1).max()),
        ("squat", lambda m: m.drop.max()),
        ("lunge_left", lambda m: np.ptp(m.joint("left_foot")[:, 2])),
        ("walk_forward", lambda m: m.travel[2]),
        ("bow", lambda m: np.ptp(m.lean)),
    ):
        reached = [far(Measures(make_recipe_clip(recipe(Step(name, 2, size=size, count=1))).joints)) for size in SIZES]
        assert reached[0] < 0.95 * reached[1] < 0.9 * reached[2], name


def test_the_size_of_a_pair_goes_the_asked_way(pairs):
    order = list(SIZES)
    for kind, sign in (("bigger", 1), ("smaller", -1)):
        for pair in pairs[kind]:
            by = [
                order.index(b.size) - order.index(a.size)
                for a, b in zip(pair.source.steps, pair.target.steps, strict=True)
            ]
            assert sign * sum(by) > 0 and min(sign * step for step in by) >= 0
            for a, b in zip(pair.source.steps, pair.target.steps, strict=True):
                assert replace(a, size="normal") == replace(b, size="normal")


def test_an_action_is_added_removed_or_exchanged(pairs):
    shown = collections.Counter()
    for kind in ("then", "first", "without", "instead"):
        for pair in pairs[kind]:
            old, new = ([step.action for step in one.steps] for one in (pair.source, pair.target))
            if kind == "then":
                assert new[:-1] == old and pair.target.steps[0] == pair.source.steps[0]
            elif kind == "first":
                assert new[1:] == old and pair.target.steps[1] == pair.source.steps[0]
            elif kind == "without":
                assert len(old) == 2 and pair.target.steps[0] in pair.source.steps
            else:
                assert new[0] == old[0] and new[1] != old[1]
            if shown[kind] < 12:
                shown[kind] += 1
                for clip in clips_of(pair):
                    shown[kind, "does"] += does(clip.actions, clip.joints)
    for kind in ("then", "first", "without", "instead"):
        # conditions recognise most sequences, not all: a cut inside a pause may split a small second action
        assert shown[kind, "does"] >= 0.85 * 2 * shown[kind], kind


def test_then_sits_down():
    first, last = Step("walk_forward", 2), Step("sit_down", 3)
    joints = make_recipe_clip(recipe(first, last)).joints
    assert does(("walk_forward", "sit_down"), joints)
    assert not performs("sit_down", make_recipe_clip(recipe(first)).joints)


def test_counts_go_the_asked_way(pairs):
    for kind in ("count", "once more"):
        for pair in pairs[kind]:
            counts = [[p.facts.get("count", 1) for p in play(one).performed] for one in (pair.source, pair.target)]
            changes = [b - a for a, b in zip(*counts, strict=True) if a != b]
            assert len(changes) == 1 and (kind == "count" or changes == [1])
    twice = make_recipe_clip(recipe(Step("turn_left", 2, times=2)))
    assert twice.captions[0] == "a person turns left twice" and len(twice.performed) == 1
    assert Measures(twice.joints).turned == pytest.approx(180, abs=25)  # two turns of 82 to 98 degrees


def test_one_hand_and_both():
    for one, both in (("raise_arm_left", "raise_both_arms"), ("pick_up_right", "pick_up")):
        clips = [make_recipe_clip(recipe(Step(name, 2))) for name in (one, both)]
        assert len(clips[0].joints) == len(clips[1].joints)
        assert performs(one, clips[0].joints) and performs(both, clips[1].joints)
        assert not performs(one, clips[1].joints)


# ---- the sentences ----------------------------------------------------------------------------------------------


def test_every_kind_has_its_phrasings():
    for phrases, (plain, named) in EDIT_PHRASES.items():
        assert len(set(plain)) == len(plain) >= 12 and len(set(named)) == len(named) >= 12, phrases
        for text in (*plain, *named):
            assert set(re.findall(r"{(\w+)}", text)) <= FIELDS and text == " ".join(text.lower().split())


def test_sentences_say_what_changes(pairs):
    """Filled in full, different from each other; a side that is named is the new one."""
    for several in pairs.values():
        for pair in several:
            assert len(set(pair.texts)) == len(pair.texts) == 3
            assert not any("{" in text or "  " in text for text in pair.texts)
    for pair in pairs["other side"]:
        before = next(a.side for a, b in zip(pair.source.steps, pair.target.steps, strict=True) if a != b)
        assert not any(re.search(rf"\b{before}\b", text) for text in pair.texts), pair.texts
    named = [any(word in text for word in ("left", "right")) for pair in pairs["other side"] for text in pair.texts]
    assert len(named) > 80 and 0.3 < np.mean(named) < 0.7  # half of them; a deviation is 0.055
    for pair in pairs["count"]:
        new = [b for a, b in zip(pair.source.steps, pair.target.steps, strict=True) if a != b][0]
        said = {1: "once", 2: "twice"}.get(new.count or new.times, "times")
        assert all(said in text for text in pair.texts)


# ---- the dataset folder -----------------------------------------------------------------------------------------

PREPARE = ("prepare", "--from", "procedural", "--count", 3, "--seed", SEED, "--workers", 1)


@pytest.fixture
def folder(script, tmp_path):
    assert script(*PREPARE, "--edits", 6, "--out", tmp_path / "data").code == 0
    return tmp_path / "data"


def test_pairs_become_clips_of_the_folder(script, folder, tmp_path):
    data, edits = MotionDataset(folder), read_edits(folder)
    assert edits == [Edit(p.source.id, p.target.id, p.texts, p.kind) for p in (make_pair(i, SEED) for i in range(6))]
    split_of = split_of_edits(data, edits)
    assert len(split_of) == 12
    for edit in edits:
        assert split_of[edit.source] == split_of[edit.target]
        pair = make_pair(int(edit.source.split("_")[1]), SEED)
        for clip in clips_of(pair):
            assert [caption.text for caption in data.captions(clip.id)] == clip.captions
            assert data.frames(clip.id) == len(clip.joints) - 1  # the features cost a frame
    # the ordinary clips are those of a build without edits, and that one has no file of edits
    assert script(*PREPARE, "--out", tmp_path / "plain").code == 0
    for path in (tmp_path / "plain").glob("*/*"):
        assert path.read_bytes() == (folder / path.parent.name / path.name).read_bytes()
    assert not (tmp_path / "plain" / "edits.json").exists()
    np.testing.assert_array_equal(
        np.load(folder / "new_joint_vecs" / "p11_000000.npy").shape[0], len(generate_clip(0, SEED).joints) - 1
    )


SWAPPED = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}


def test_mirrored_clips_have_mirrored_edits(script, tmp_path):
    assert script(*PREPARE, "--edits", 6, "--mirror", "--out", tmp_path / "data").code == 0
    edits = read_edits(tmp_path / "data")
    assert len(edits) == 12
    for one, mirrored in zip(edits[::2], edits[1::2], strict=True):
        assert (mirrored.source, mirrored.target) == (f"M{one.source}", f"M{one.target}")
        for text, other in zip(one.texts, mirrored.texts, strict=True):
            assert [SWAPPED.get(word, word) for word in re.findall(r"\w+", text)] == re.findall(r"\w+", other)


def test_edits_of_clips_that_were_left_out_are_not_written(tmp_path):
    edits = [Edit("a", "b", ("faster",)), Edit("a", "c", ("slower",), "slower")]
    assert write_edits(tmp_path, edits, {"a", "b"}) == 1 and read_edits(tmp_path) == edits[:1]
    assert write_edits(tmp_path, edits, {"b", "c"}) == 0 and read_edits(tmp_path) == []


def test_a_killed_build_ends_with_the_same_edits(script, folder, tmp_path, monkeypatch):
    from motiongpt.data.prepare import records

    made, perform = [], records._perform

    def killed(recipe):
        made.append(recipe.id)
        if len(made) == 5:
            raise KeyboardInterrupt
        return perform(recipe)

    monkeypatch.setattr(records, "_perform", killed)
    out = tmp_path / "killed" / "data"  # dataset.json says the folder's name
    out.parent.mkdir()
    try:
        script(*PREPARE, "--edits", 6, "--out", out)
    except KeyboardInterrupt:
        pass
    assert (out / "unfinished.jsonl").is_file() and not (out / "edits.json").exists()
    made += [None]  # no second kill
    assert script(*PREPARE, "--edits", 6, "--out", out).code == 0
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert Path("edits.json") in files and files == sorted(
        path.relative_to(out) for path in out.rglob("*") if path.is_file()
    )
    for path in files:
        assert (out / path).read_bytes() == (folder / path).read_bytes(), path


@for_each(
    "content, message",
    [
        ({}, "edits.json: expected a JSON list, got dict"),
        (["faster"], "entry 0: expected an object with source, target and text, got str"),
        ([{"source": "a", "text": "faster"}], "entry 0: the key target is missing"),
        ([{"source": 1, "target": "b", "text": "faster"}], "entry 0: source must be a text"),
        ([{"source": "a", "target": "b", "text": "x"}, {"source": "a", "target": "a", "text": "x"}], "entry 1: .*two"),
        ([{"source": "a", "target": "b", "text": []}], "entry 0: text must be a sentence or a list of sentences"),
        ([{"source": "a", "target": "b", "text": ["x", " "]}], "entry 0: text must be"),
        ([{"source": "a", "target": "b"}], "entry 0: text must be"),
        ([{"source": "../a", "target": "b", "text": "x"}], "entry 0: the id '../a' leads out of the folder"),
        ([{"source": "a", "target": "b", "text": "x", "kinds": ""}], "entry 0: unknown key 'kinds'"),
        ([{"source": "a", "target": "b", "text": "x\ud83d"}], "entry 0: half a character"),
    ],
)
def test_wrong_edits_are_named(tmp_path, content, message):
    (tmp_path / "edits.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_edits(tmp_path)


def test_clips_of_edits_are_checked(folder):
    data, edits = MotionDataset(folder), read_edits(folder)
    with pytest.raises(ValueError, match="entry 1: no split of .* lists the clip 'none'"):
        split_of_edits(data, [edits[0], replace(edits[1], target="none")])
    training = data.ids("train")
    (folder / "val.txt").write_text(f"{training[-1]}\n")
    (folder / "train.txt").write_text("".join(f"{clip}\n" for clip in training[:-1]))
    with pytest.raises(ValueError, match="both clips of an edit belong to one split"):
        split_of_edits(MotionDataset(folder), edits)


# ---- the token data set -----------------------------------------------------------------------------------------


def test_from_the_folder_to_entries(script, folder, tiny, tmp_path):
    """One entry per sentence: the codes of both clips, as their captions have them."""
    same = read_edits(folder)[0]
    for path in folder.rglob(f"{same.target}.npy"):  # an edit that changes nothing
        path.write_bytes(path.with_stem(same.source).read_bytes())
    before = MotionDataset(folder).hash()
    command = ("tokenize_motions", "--data", folder, "--vqvae", tiny.vqvae)
    written = script(*command, "--out", tmp_path / "t.json")
    entries = load_tokens(tmp_path / "t.json")
    codes = {entry.id: entry.codes for entry in plain_entries(entries)}
    edits = read_edits(folder)
    split_of = split_of_edits(MotionDataset(folder), edits)
    # a tokenizer has the same codes for some pairs; such an edit would teach to change nothing
    shown = [edit for edit in edits if codes[edit.source] != codes[edit.target]]
    wanted = {(text, codes[e.target], codes[e.source], e.target, split_of[e.target]) for e in shown for text in e.texts}
    found = [(e.text, e.codes, e.source, e.id, e.split) for e in entries if e.source]
    assert len(found) == len(wanted) and set(found) == wanted and 1 < len(shown) < len(edits)
    assert f"dropped {18 - len(wanted)}: edit that the codes do not show" in written.out
    assert len(plain_entries(entries)) == 5 * 15
    # other edits are another data set, and a folder of arrays has no place for them
    done = script(*command, "--format", "npy", "--out", tmp_path / "arrays")
    assert done.code == 0 and "6 edits are left out" in done.out
    assert len(load_tokens(tmp_path / "arrays")) == 5 * 15
    one = {"source": edits[0].source, "target": edits[0].target, "text": "x"}
    (folder / "edits.json").write_text(json.dumps([one]))
    assert MotionDataset(folder).hash() != before


ENTRIES = [
    Entry("a person walks", (1, 2, 3), "P1", "a", "train"),
    Entry("do it faster", (1, 3), "P1", "b", "train", (1, 2, 3)),
    Entry("do it faster", (4, 5), "P1", "c", "train", (4, 5, 9)),
]


def test_entries_with_a_source_round_trip(tmp_path):
    path = tmp_path / "t.json"
    save_tokens(path, ENTRIES, {"codes": 10})
    assert load_tokens(path) == ENTRIES and read_tokens_meta(path)["codes"] == 10
    rows = json.loads(path.read_text())
    assert rows[1]["source_tokens"] == "1 2 3" and "source_tokens" not in rows[0]
    rows[1]["source_tokens"] = [1, 2, 4]  # as a list, and other codes than the meta file knows
    path.write_text(json.dumps(rows))
    assert load_tokens(path)[1].source == (1, 2, 4)
    with pytest.raises(ValueError, match="was not written with the t.json beside it"):
        read_tokens_meta(path)
    with pytest.raises(ValueError, match="no place for edits"):
        save_tokens(tmp_path / "folder", ENTRIES, {}, "npy")


def test_the_hash_of_codes_without_edits_is_the_former(tmp_path):
    """Meta files of older versions stay valid."""
    save_tokens(tmp_path / "t.json", ENTRIES[:1], {"codes": 10})
    former = hashlib.sha256(b"a\t1 2 3\n").hexdigest()[:16]
    assert json.loads(meta_path(tmp_path / "t.json").read_text())["tokens"] == former
    assert repr(ENTRIES[0]) == "Entry(text='a person walks', codes=(1, 2, 3), participant='P1', id='a', split='train')"


@for_each(
    "tokens, message",
    [
        ("", "entry 0: source_tokens"),
        ([], "entry 0: source_tokens is empty"),
        ("1 x", "entry 0: source_tokens"),
        ([1, -2], "entry 0: source_tokens holds -2"),
        ([1, True], "entry 0: source_tokens must be"),
        (None, "entry 0: source_tokens must be"),
    ],
)
def test_wrong_sources_are_named(tmp_path, tokens, message):
    row = {"text_query": "faster", "motion_tokens": "1", "source_tokens": tokens}
    (tmp_path / "t.json").write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=message):
        load_tokens(tmp_path / "t.json")


def test_an_edit_is_no_caption(tmp_path):
    assert list(prompt_table(ENTRIES)["captions"]) == ["a person walks"]
    assert prompt_table(ENTRIES)["global_median"] == 3
    assert dedup([*ENTRIES, *ENTRIES]) == ENTRIES  # one sentence about two motions is two edits
    counts = write_instructions(tmp_path / "zhang", to_records(ENTRIES, "t.json"), {})
    assert counts == {"train": 4, "val": 0}  # four tasks of the one caption
    # a code that only a source has needs a row of the codebook too
    assert codebook_size(ENTRIES, tmp_path / "t.json", None)[0] == 10
    with pytest.raises(ValueError, match="entry 2: motion code 9 is outside the codebook of 9"):
        codebook_size(ENTRIES, tmp_path / "t.json", 9)
