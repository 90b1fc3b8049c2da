"""<Motion Token> tags of Zhang et al. in a prompt: the command that means the same."""

import shlex

from cases import at_most, for_each

from motiongpt.cli.motion_tokens import motion_token_command
from motiongpt.cli.sample_flags import SAMPLE_TASKS, parse_codes

INSTRUCTION = "Generate a sequence of motion tokens matching the following human motion description"
WALK = "a person walks forward."


def flags(line: str) -> dict[str, str]:
    """The flags of the command in a line, which a shell would read so."""
    words = shlex.split(line.split("scripts/sample.py ")[1].split(" (")[0])
    return dict(zip(words[::2], words[1::2], strict=True))


@for_each(
    "instruction, text, task, codes",
    [
        (f"{INSTRUCTION} given the initial token.", f"{WALK}<Motion Token>315</Motion Token>", "init", "315"),
        (f"{INSTRUCTION} given the last token.", f"{WALK}<Motion Token>406</Motion Token>", "last", "406"),
        (
            f"{INSTRUCTION} given several key tokens.",
            f"{WALK}<Motion Token>315,91,406</Motion Token>",
            "keys",
            "315@0,91@12,406@24",
        ),
    ],
)
def test_commands_of_the_public_readme(instruction, text, task, codes):
    """Its three commands with codes, --prompt and --input as they stand there."""
    line = motion_token_command([instruction, text])
    assert flags(line) == {"--task": task, "--codes": codes, "--prompt": WALK} and "\n" not in line
    assert parse_codes(codes, task)


def test_its_command_without_codes_is_no_error():
    assert motion_token_command([f"{INSTRUCTION}.", WALK]) is None


@for_each(
    "text, codes, prompt",
    [
        ("< motion  token >7</ MOTION TOKEN > sits", "7", "sits"),
        ("sits <motion_tokens>7</motion_tokens>", "7", "sits"),
        ("<MotionToken>7 sits 3 times", "7", "sits 3 times"),
        ("a <Motion Token>1;2</Motion Token> b <Motion Token>7</Motion Token>", "1@0,2@12,7@24", "a b"),
        ("it's<Motion Token>7", "7", "it's"),
        ("a\x1b[31m b\n<Motion Token>7</Motion Token>", "7", "a [31m b"),
        ("<Motion Token>7</Motion Token>", "7", "what the person does"),
        ("a <Motion Token>1,2,3,4,5</Motion Token>", "1@0,2@6,3@12,4@18,5@24", "a"),
    ],
)
def test_tags_as_people_type_them(text, codes, prompt):
    found = flags(motion_token_command([text]))
    assert (found["--codes"], found["--prompt"]) == (codes, prompt)


def test_the_task_that_was_asked_for_stays():
    text = ["a<Motion Token>7</Motion Token>"]
    assert [flags(motion_token_command(text, task))["--task"] for task in ("init", "last")] == ["init", "last"]
    assert flags(motion_token_command(text, "keys"))["--codes"] == "7@0"
    assert flags(motion_token_command(["a<Motion Token>7,8"], "predict"))["--codes"] == "7,8"
    for task in SAMPLE_TASKS:  # whatever it was, the answer can be typed
        found = flags(motion_token_command(["a<Motion Token>7,8"], task))
        assert parse_codes(found["--codes"], found["--task"])


@for_each(
    "text, shown",
    [
        ("<Motion Token></Motion Token>", "holds no code"),
        ("sits</Motion Token>", "holds no code"),
        ("<Motion Token>abc\x1b[31m</Motion Token>", "holds 'abc [31m'"),
        ("<Motion Token>-5</Motion Token>", "holds '-5'"),
        ("<Motion Token>٣</Motion Token>", "holds '٣'"),
        (f"<Motion Token>{'9' * 5000}</Motion Token>", f"holds '{'9' * 40}'"),
    ],
)
def test_tags_without_codes(text, shown):
    line = motion_token_command([text])
    assert shown in line and "--codes 315" in line and "\n" not in line and len(line) < 200


def test_other_text_is_left_alone_quickly():
    with at_most(1.0, "texts of 10,000 characters"):
        for text in (
            "a motion token",
            "<motion_315>",
            "<MOT_BEGIN>",
            "<" * 10_000,
            "<" + " " * 9_999,
            "< motion" * 1250,
        ):
            assert motion_token_command([text]) is None
        assert len(motion_token_command(["x" * 10_000 + "<Motion Token>1"])) < 500
