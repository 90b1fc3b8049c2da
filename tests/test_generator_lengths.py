"""Lengths that are told and asked for, motions that are changed, several samples, answers without the given codes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from motiongpt import MotionGenerator
from motiongpt.generation.best_of import SEED_STEP
from motiongpt.generation.scores import by_description
from motiongpt.generation.streaming import StreamTiming
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.templates import REST, Templates, built_in

CAPTION = "a person walks forward"


@pytest.fixture(scope="module")
def pairs(tiny, tmp_path_factory):
    """The tiny data set with some pairs of motions."""
    path = tmp_path_factory.mktemp("pairs") / "tokens.json"
    entries = json.loads(tiny.data.read_text(encoding="utf-8"))
    changed = [
        {"text_query": "but faster", "motion_tokens": "1 2 3", "source_tokens": "1 1 2 2 3 3", "split": split}
        for split in ("train", "train", "val")
    ]
    path.write_text(json.dumps(entries + changed), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def able(tiny, tmp_path_factory) -> MotionGenerator:
    """A run that learnt to continue a motion."""
    folder = tmp_path_factory.mktemp("able")
    tiny.finetune(folder, 1, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "predict": 1.0})
    return MotionGenerator.load(folder)


@pytest.fixture(scope="module")
def planner(tiny, pairs, tmp_path_factory) -> MotionGenerator:
    """A run that learnt to be told a length, to name one, and to change a motion."""
    folder = tmp_path_factory.mktemp("planner")
    tasks = {"t2m": 1.0, "m2t": 1.0, "t2d": 1.0, "m2d": 1.0, "edit": 1.0}
    templates = replace(built_in("plain"), tell_length=0.5)
    tiny.finetune(folder, 2, data=pairs, vqvae=tiny.vqvae, tasks=tasks, templates=templates)
    return MotionGenerator.load(folder)


def read_text(generator: MotionGenerator, **options) -> str:
    """The words of the request that the model reads for CAPTION."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motiongpt.generation.writer.generate", lambda prompts, **_: seen.extend(prompts) or [[1]])
        generator.generate(CAPTION, **options)
    text_tokenizer = generator.run.vocab.text_tokenizer
    return text_tokenizer.decode([i for i in seen[0] if i < generator.run.vocab.first_id])


def test_a_wanted_length_is_told_to_a_stage_that_knows_what_it_means(planner, generator):
    assert "for 3.0 seconds" in read_text(planner, seconds=3.0)
    assert "seconds" not in read_text(generator, seconds=3.0)  # this stage never saw such words
    assert 14 <= len(planner.generate(CAPTION, seconds=3.0).tokens) <= 16
    exact = planner.generate([CAPTION, "someone waves"], seconds=[1.0, 2.0], exact_length=True)
    assert [len(motion.tokens) for motion in exact] == [5, 10]


def test_the_named_length_is_a_number(planner, generator):
    """Whatever untrained weights would write: only digits and points may be written."""
    for motion in ([1, 2, 3], [5] * 30):
        seconds = planner.seconds_of(motion)
        assert seconds is None or (math.isfinite(seconds) and seconds > 0)
    assert planner.expected_seconds("someone does something") == planner.expected_seconds("someone does something")
    for ask in (generator.expected_seconds, lambda text: generator.seconds_of([1])):
        with pytest.raises(ValueError, match="this stage never learnt"):
            ask(CAPTION)


def test_a_planned_motion_goes_from_its_own_start_to_its_own_end(tiny, tmp_path):
    """A stage that learnt inbetween is asked for what lies between the ends of the motion without a wanted length; the
    same motion alone, in a batch, and as a stream."""
    tiny.finetune(tmp_path, 1, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "inbetween": 1.0})
    generator = MotionGenerator.load(tmp_path)
    prompts = [CAPTION, "someone waves", "a dragon flies"]
    free = generator.generate(prompts, seed=5)
    for seconds, codes in ((1.0, 5), (4.0, 20)):
        batch = generator.generate(prompts, seed=5, seconds=seconds)
        for i, (motion, own) in enumerate(zip(batch, free, strict=True)):
            assert len(motion.tokens) == codes
            assert motion.tokens[0] == own.tokens[0] and motion.tokens[-2:] == own.tokens[-2:]
            assert generator.generate(prompts[i], seed=5 + i, seconds=seconds).tokens == motion.tokens
        written: list[int] = []
        list(generator.stream(prompts[1], seed=6, seconds=seconds, codes=written))
        assert tuple(written) == batch[1].tokens
    assert len(generator.generate(CAPTION, seconds=0.4, exact_length=True).tokens) == 2  # no room for a way between
    given = generator.generate(CAPTION, seconds=2.0, given={3: 7}, exact_length=True)
    assert given.tokens[3] == 7 and len(given.tokens) == 10


def test_a_sequence_has_the_lengths_that_were_asked_for(generator, able):
    for run in (generator, able):
        motion = run.sequence([CAPTION, "someone waves"], seconds=[2.0, 1.0], seed=3)
        assert len(motion.tokens) == 15 and motion.notes == (f"0.0 s: {CAPTION}", "2.0 s: someone waves")
        assert len(run.sequence([CAPTION], seconds=9.0).tokens) == 45  # longer than any in training
        assert len(run.sequence([CAPTION, "someone waves"], seed=1).tokens) > 2
    with pytest.raises(ValueError, match="the prompt is empty"):
        generator.sequence([CAPTION, " "])


def test_a_stream_is_the_motion(generator, monkeypatch):
    """All raw frames of `generate`, to rounding: the streamed decoder sees windows, whose sums add up in other order.

    A stream cannot be cleaned: cleaning looks at the whole motion.
    """
    monkeypatch.setattr(generator, "raw", True)
    whole = generator.generate(CAPTION, seed=2)
    timing, codes = StreamTiming(), []
    frames = torch.cat(list(generator.stream(CAPTION, seed=2, timing=timing, codes=codes)))
    assert tuple(codes) == whole.tokens and timing.frames == len(frames)
    np.testing.assert_allclose(frames.numpy(), whole.joints, atol=1e-4)


def test_edit_shows_the_motion_and_writes_another(planner, generator):
    source = [1, 1, 2, 2, 3, 3]
    renderer = planner.run.renderer
    ids = renderer.request(Request("edit", "but faster", source))
    begin = planner.run.vocab.begin_id
    assert ids[ids.index(begin) :][: len(source) + 2] == planner.run.vocab.motion_ids(source)
    for motion in (source, "1 1 2 2 3 3", planner.decode([source], [""])[0]):
        assert planner.edit(motion, "but faster", seed=1).tokens == planner.edit(source, "but faster", seed=1).tokens
    assert planner.edit(source, "but faster", seconds=1.0, exact_length=True).text == "but faster"
    with pytest.raises(ValueError, match="this stage never learnt edit"):
        generator.edit(source, "but faster")
    with pytest.raises(ValueError, match="nothing to change"):
        planner.edit([], "but faster")


def test_edit_needs_pairs(tiny, tmp_path):
    with pytest.raises(ValueError, match="task edit needs pairs of motions"):
        tiny.finetune(tmp_path / "run", 1, tasks={"t2m": 1.0, "edit": 1.0})


def test_several_samples_and_the_best_of_them(generator):
    """Sample k is the motion of seed + k * SEED_STEP, alone or in a list of prompts."""
    one = generator.generate(CAPTION, seed=4)
    several = generator.generate(CAPTION, seed=4, samples=3)
    assert several[0].tokens == one.tokens
    assert [m.tokens for m in several] == [generator.generate(CAPTION, seed=4 + k * SEED_STEP).tokens for k in range(3)]
    lists = generator.generate([CAPTION, "someone waves"], seed=4, samples=3)
    assert [m.tokens for m in lists[0]] == [m.tokens for m in several] and len(lists[1]) == 3
    longest = generator.generate(CAPTION, seed=4, samples=3, score=lambda motion: len(motion.tokens))
    assert len(longest.tokens) == max(len(m.tokens) for m in several)


def test_the_best_of_several_is_the_one_described_best(tiny, tmp_path):
    tiny.finetune(tmp_path, 1, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "m2t": 1.0})
    generator = MotionGenerator.load(tmp_path)
    several = generator.generate(CAPTION, seed=4, samples=4)
    scores = list(map(by_description(generator.describing_run), several))
    best = several[int(np.argmax(scores))].tokens
    assert best != several[0].tokens  # else this would show nothing
    assert generator.generate(CAPTION, seed=4, best_of=4).tokens == best
    assert generator.generate(CAPTION, seed=4, best_of=1).tokens == several[0].tokens
    for others in ({"samples": 2}, {"score": len}):
        with pytest.raises(ValueError, match="leave out best_of"):
            generator.generate(CAPTION, best_of=2, **others)


def test_a_stage_that_answers_with_the_rest_alone(tiny, tmp_path):
    """MyoSkeleton's predict leaves out the codes it was given; the motion has them nevertheless."""
    templates = built_in("myoskeleton-pretrain")
    assert templates.groups["predict"][0].outputs == (REST,)
    tiny.finetune(tmp_path, 1, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "predict": 1.0}, templates=templates)
    generator = MotionGenerator.load(tmp_path)
    assert isinstance(generator.run.renderer.templates, Templates)
    for S in (1, 4, 9):
        start = list(range(1, S + 1))
        longer = generator.continue_(start, seed=2)
        assert list(longer.tokens[:S]) == start and len(longer.tokens) > S
        assert len(generator.continue_(start, seconds=3.0, exact_length=True).tokens) == 15
    # no wording of predict has a sentence: with one it is asked as t2m, and the codes are kept by sampling
    assert generator.continue_([1, 2], CAPTION).tokens[:2] == (1, 2)
    assert len(generator.sequence([CAPTION, CAPTION], seconds=2.0).tokens) == 20


def test_digits_keep_the_given_codes_too(tiny, tmp_path):
    """What is written as text leaves the given codes out; the motion has them."""
    templates = replace(built_in("myoskeleton-instruct"), motion_as="digits")
    tiny.finetune(tmp_path, 1, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "predict": 1.0}, templates=templates)
    generator = MotionGenerator.load(tmp_path)
    assert generator.continue_([1, 2, 3]).tokens[:3] == (1, 2, 3)


def test_a_length_without_room_to_plan_is_written_as_before(tiny, tmp_path):
    """inbetween shows the whole motion, hidden, and needs twice the positions."""
    tiny.finetune(tmp_path, 1, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "inbetween": 1.0})
    generator = MotionGenerator.load(tmp_path)
    room = generator.run.llm.config.max_positions
    seconds = 0.2 * int(0.8 * room)
    assert len(generator.generate(CAPTION, seconds=seconds, exact_length=True, max_new_tokens=room).tokens) == round(
        seconds / 0.2
    )


def test_what_makes_no_sense(planner, generator):
    for call, message in (
        (lambda: planner.generate(CAPTION, task="dance"), "there is no task 'dance'"),
        (lambda: planner.generate(CAPTION, task="edit"), "task edit changes a motion, and there is none"),
        (lambda: planner.generate(CAPTION, source=[1]), "task t2m changes no motion"),
        (lambda: planner.expected_seconds(""), "the prompt is empty"),
        (lambda: planner.expected_seconds(None), "a prompt is a sentence"),
        (lambda: planner.seconds_of([1] * 5000), "the model has"),
        (lambda: generator.stream(CAPTION, exact_length=True), "needs seconds"),
        (lambda: generator.sequence([CAPTION], seconds=0.0), "--seconds must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_changed_wording_is_noticed(tiny, pairs, tmp_path):
    """A run has learnt exactly its words."""
    templates = replace(built_in("plain"), tell_length=0.5)
    tiny.finetune(tmp_path, 2, data=pairs, tasks={"t2m": 1.0, "t2d": 1.0}, templates=templates)
    path = tmp_path / "stage2" / "templates.json"
    path.write_text(path.read_text(encoding="utf-8").replace("how long", "how many"), encoding="utf-8")
    with pytest.raises(ValueError, match="templates.json is damaged or replaced"):
        MotionGenerator.load(tmp_path)
