"""What the studio makes of a wish with a real, tiny run; and its script as a program."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from motiongpt.data.training_captions import Prompts
from motiongpt.studio.jobs import Cancelled, Job
from motiongpt.studio.maker import EXAMPLES, Maker, example_sentences, formats
from motiongpt.studio.wish import MOST_SENTENCES, Refused, Wish, read_wish

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def maker(generator):
    return Maker(generator, "tiny")


def make(maker, wish, source=None):
    """The motions of a wish, and the shares of the work that were told on the way."""
    shares = []
    return maker.make(wish, source, shares.append), shares


def test_a_motion_is_the_generators_own(maker, generator):
    wish = Wish("t2m", ("a person walks forward",), seconds=2.0, seed=5, participant="P1", samples=2)
    made, shares = make(maker, wish)
    assert made.seeds == (5, 6)
    for motion, seed in zip(made.motions, made.seeds, strict=True):
        own = generator.generate("a person walks forward", "P1", seconds=2.0, seed=seed)
        assert motion.tokens == own.tokens and np.array_equal(motion.joints, own.joints)
    assert shares == sorted(shares) and 0 < shares[0] < 0.5 < shares[-1] < 1
    assert len(shares) >= sum(len(motion.tokens) for motion in made.motions)  # after every code


def test_a_cancelled_motion_ends_at_its_next_code(maker):
    job = Job(lambda job: None)
    steps = []

    def tell(share):
        steps.append(share)
        if len(steps) == 3:
            job.unwanted.set()
        job.tell(share)

    with pytest.raises(Cancelled):
        maker.make(Wish("t2m", ("he sits down",), seconds=10.0), None, tell)
    assert len(steps) == 3


def test_sentences_follow_each_other(maker, generator):
    texts = ("a person walks forward", "he sits down")
    made, shares = make(maker, Wish("t2m", texts, seed=2))
    assert made.motions[0].tokens == generator.sequence(texts, seed=2).tokens and shares[-1] < 1


def test_a_motion_is_continued_by_as_much_as_was_wanted(maker, generator):
    source = generator.generate("a person walks forward", seed=1)
    each = generator.run.config.seconds_per_code
    for seconds in (None, 2.0):
        made, _ = make(maker, Wish("predict", ("he sits down",), seconds, seed=1, motion="x"), source)
        (motion,) = made.motions
        count = len(source.tokens)
        assert motion.tokens[:count] == source.tokens
        wanted = seconds / each if seconds else generator.run.prompts.expected_length("he sits down")
        assert abs(len(motion.tokens) - count - wanted) <= 1  # `seconds` is met to within one code


def test_a_motion_is_described(maker, describer):
    source = describer.generate("a person walks forward", seed=1)
    made, _ = make(Maker(describer, "tiny"), Wish("m2t", motion="x"), source)
    assert made.motions == () and made.said == describer.describe(source)
    with pytest.raises(Refused, match="no stage of .* was trained on m2t") as refused:
        make(maker, Wish("m2t", motion="x"), source)
    assert refused.value.field == "task"


def test_what_the_library_refuses_goes_to_its_field(maker, generator):
    with pytest.raises(Refused, match="no letter") as refused:
        maker.check(Wish("t2m", ("a person walks", "?!")))
    assert refused.value.field == "text"
    long = " ".join(["walks"] * 1500)
    with pytest.raises(Refused, match="positions") as refused:
        make(maker, Wish("t2m", (long,)))
    assert refused.value.field == "text"
    source = generator.generate("a person walks forward", seed=1)
    source.tokens = source.tokens * 20
    with pytest.raises(Refused, match="--seconds") as refused:
        make(maker, Wish("predict", ("he sits down",), 15.0, motion="x"), source)
    assert refused.value.field == "seconds"


def test_the_page_is_told_what_the_run_can_do(maker, generator):
    facts = maker.facts()
    assert facts["tasks"] == ["t2m", "predict"] and not facts["reads"] and not facts["wordless"]
    assert [who["id"] for who in facts["participants"]] == list(generator.run.config.participants)
    assert facts["examples"]["t2m"] and all(map(generator.knows, facts["examples"]["t2m"]))
    motion = generator.generate("he sits down")
    assert {"npy", "gif", "mp4", "bvh", "glb", "csv", "vrma", "html"} <= set(formats(motion))


def test_examples_show_different_actions_a_mood_and_a_sequence():
    clauses = [f"{verb} {way}" for verb in ("walks", "runs", "jumps", "waves", "bows", "turns", "kneels")
               for way in ("slowly", "twice")]  # fmt: skip
    lists = {"words": [], "telling": {}, "negated": [], "lengths": {}, "paces": {}, "wholes": []}
    table = {"subjects": ["a person", "a sad person"], "clauses": ["walks while waving", *clauses], **lists}
    examples = example_sentences(Prompts({"global_median": 5, "captions": {}, "reading": table}))
    verbs = [text.split("person ")[1].split()[0] for text in examples]
    assert len(set(verbs)) >= len(verbs) - 1 and not any("while" in text for text in examples)
    assert examples[-2].startswith("a sad person ") and " then " in examples[-1] and len(examples) <= EXAMPLES
    captions = {f"caption {number:03}": {} for number in range(100)}
    assert len(example_sentences(Prompts({"global_median": 5, "captions": captions}))) <= EXAMPLES
    assert example_sentences(Prompts({"global_median": 5, "captions": {}})) == []


def test_a_wish_with_everything_left_out():
    assert read_wish({"text": " walk \n\n then sit\r\n"}, ("t2m",), (), False) == Wish("t2m", ("walk", "then sit"))
    assert read_wish({"text": "", "task": "predict", "motion": "x"}, ("predict",), (), True).sentences == ()
    with pytest.raises(Refused, match="no sentence"):
        read_wish({"text": "", "task": "predict", "motion": "x"}, ("predict",), (), False)
    with pytest.raises(Refused, match="never learnt edit"):
        read_wish({"text": "faster", "task": "edit", "motion": "x"}, ("t2m",), (), False)
    with pytest.raises(Refused, match=f"at most {MOST_SENTENCES} sentences"):
        read_wish({"text": "walk\n" * (MOST_SENTENCES + 1)}, ("t2m",), (), False)


# The script.


def test_a_wrong_place_is_said_before_a_model_is_loaded(script, tmp_path):
    run = ("--run", tmp_path)  # no run: it would be the next error
    done = script("studio", *run, "--host", "0.0.0.0")
    assert done.code == 2 and "for this computer alone" in done.err and done.err.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = script("studio", *run, "--port", port)
    assert done.code == 2 and f"port {port} is in use" in done.err and "--port 0" in done.err
    assert script("studio", *run, "--port", 0).code == 2


@pytest.mark.slow
def test_the_program_answers_and_ends_with_ctrl_c(tiny, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "studio.py", "--run", tiny.run, "--port", "0", "--device", "cpu"]
    program = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in the background
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        url = next(
            found[1] for line in program.stdout if (found := re.match(r"studio: (http://127.0.0.1:\d+/) ", line))
        )
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"Motion studio" in page.read()
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        with socket.create_connection(("127.0.0.1", port)):  # stays open
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 130 and err == ""
