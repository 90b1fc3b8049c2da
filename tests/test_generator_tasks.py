"""MotionGenerator with given codes: kept exactly, for a run that learnt the tasks and for one that did not."""

import random

import pytest
from cases import for_each

from motiongpt import MotionGenerator

CAPTION = "a person walks forward"
LEARNT = {"t2m": 1.0, "predict": 1.0, "inbetween": 1.0, "init": 1.0, "last": 1.0, "keys": 1.0, "random": 1.0}


@pytest.fixture(scope="module")
def able(tiny, tmp_path_factory) -> MotionGenerator:
    """A run that was trained on every task that writes a motion from given codes."""
    folder = tmp_path_factory.mktemp("able")
    tiny.finetune(folder, 1, vqvae=tiny.vqvae, tasks=LEARNT)
    return MotionGenerator.load(folder)


def shows(generator: MotionGenerator, task: str, **given) -> list[int]:
    """The codes in the request that the model reads."""
    read = []
    hidden = generator.run.model.hidden
    first = generator.run.vocab.first_motion

    def spy(ids, *args, **kwargs):
        read.append([i - first for i in ids[0].tolist() if 0 <= i - first < 32] if not read else None)
        return hidden(ids, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator.run.model, "hidden", spy)
        generator.generate(CAPTION, task=task, **given)
    return read[0]


@for_each(
    "task, given",
    [
        ("t2m", {0: 3, 5: 31}),
        ("predict", {0: 3, 1: 4, 2: 5}),
        ("inbetween", {0: 3, 1: 4, -2: 30, -1: 31}),
        ("init", {0: 31}),
        ("last", {-1: 31}),
        ("keys", {2: 30, 4: 31, 7: 29}),
    ],
)
def test_given_codes_are_in_the_motion_and_in_the_request(task, given, generator, able):
    """Any codes, also ones that training never showed with the caption. A run that never learnt the task is not told
    of them."""
    for run in (generator, able):
        for seed in range(10):
            tokens = run.generate(CAPTION, task=task, given=given, seed=seed).tokens
            assert all(tokens[position] == code for position, code in given.items())
            others = [code for i, code in enumerate(tokens) if i not in given and i - len(tokens) not in given]
            assert set(others) <= set(range(12))  # the caption's own
    assert shows(generator, task, given=given) == []
    assert shows(able, task, given=given) == ([] if task == "t2m" else list(given.values()))


def test_given_codes_of_random_requests(able, generator):
    """300 requests: codes kept, a length that was asked for met, the same motion alone and in a batch."""
    draw = random.Random(0)
    for _ in range(50):
        prompts, given, seconds = [], [], []
        for _ in range(3):
            S = draw.randint(2, 20)
            ends = draw.random() < 0.3
            keys = draw.sample(range(S), draw.randint(1, min(S, 4)))
            given.append({position - S if ends else position: draw.randrange(32) for position in keys})
            seconds.append(S * 0.2)
            prompts.append(draw.choice((CAPTION, "someone waves", "a dragon flies")))
        for run, task in ((able, "keys"), (generator, "t2m")):
            options = {"task": task, "exact_length": True}
            batch = run.generate(prompts, given=given, seconds=seconds, seed=7, **options)
            for i, motion in enumerate(batch):
                assert len(motion.tokens) == round(seconds[i] / 0.2)
                assert all(motion.tokens[position] == code for position, code in given[i].items())
            alone = run.generate(prompts[1], given=given[1], seconds=seconds[1], seed=8, **options)
            assert alone.tokens == batch[1].tokens


def test_without_given_codes_a_motion_is_what_it_was(generator):
    for given in (None, {}):
        assert generator.generate(CAPTION, seed=4, given=given).tokens == generator.generate(CAPTION, seed=4).tokens


def test_a_continuation_starts_with_the_motion_and_goes_on(able, generator):
    start = generator.generate(CAPTION, seed=1)
    n = len(start.tokens)
    for run, prompt in ((able, None), (able, CAPTION), (generator, CAPTION)):
        for form in (start, start.tokens, start.tokens_text):
            longer = run.continue_(form, prompt, seed=2)
            assert longer.tokens[:n] == start.tokens and len(longer.tokens) > n
        assert len(run.continue_(start, prompt, seconds=4.0, exact_length=True).tokens) == 20
    with pytest.raises(ValueError, match="a code is given at position 3, the motion has 3 codes"):
        generator.continue_(start, CAPTION, seconds=0.4)
    with pytest.raises(ValueError, match="nothing to continue"):
        generator.continue_([], CAPTION)


def test_a_run_that_learnt_it_needs_no_sentence(able, generator):
    assert 1 <= len(able.generate(None, task="random", seed=0).tokens) and able.generate(None, task="random").text == ""
    assert able.generate([None, CAPTION], task="predict", given={0: 9})[0].tokens[0] == 9
    filled = able.generate(None, task="inbetween", given={0: 1, -1: 2}, seconds=2.0, exact_length=True)
    assert len(filled.tokens) == 10 and (filled.tokens[0], filled.tokens[-1]) == (1, 2)
    for task, given in (("predict", {0: 1}), ("inbetween", {0: 1}), ("random", None)):
        with pytest.raises(ValueError, match=f"never learnt {task}, so it needs a sentence"):
            generator.generate(None, task=task, given=given)
    for task in ("t2m", "init", "keys"):
        with pytest.raises(ValueError, match="a prompt is a sentence"):
            able.generate(None, task=task, given={0: 1})


@for_each(
    "task, given, message",
    [
        ("init", {1: 3}, "task init needs the code at position 0; codes are given at positions: 1"),
        ("last", None, "task last needs the code at position -1; codes are given at positions: none"),
        ("predict", {0: 1, 2: 1}, "task predict needs the first codes"),
        ("keys", {}, "task keys needs codes at some positions"),
        ("random", {0: 1}, "task random needs no codes"),
        ("m2t", {0: 1}, "task 'm2t' writes no motion from given codes"),
        ("keys", {0: 32}, "the given code 32 is outside the codebook of 32"),
        ("keys", {400: 1}, "--max-new-tokens is"),
    ],
)
def test_given_codes_that_do_not_fit(task, given, message, generator):
    with pytest.raises(ValueError, match=message):
        generator.generate(CAPTION, task=task, given=given)


def test_one_mapping_per_prompt(generator):
    first, second = generator.generate([CAPTION, CAPTION], given=[{0: 1}, {0: 2}])
    assert (first.tokens[0], second.tokens[0]) == (1, 2)
    with pytest.raises(ValueError, match="given: 1 values for 2 prompts"):
        generator.generate([CAPTION, CAPTION], given=[{0: 1}])
