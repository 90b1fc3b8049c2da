"""How long a sentence takes where a run is loaded already: in `sample.py --chat` and in the studio.

    python benchmarks/bench_second_sentence.py
    python benchmarks/bench_second_sentence.py --seconds 5 --run outputs/run

Both are driven as their users drive them, in one process with as many threads as a script has. What is timed begins
with the line and ends when the joints are there; for the chat also when its files are written, .npy, .gif and .txt.
Each round is another sentence. The goal is half a second for 10 seconds of motion.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from compare import report

from motiongpt.cli.chat import chat
from motiongpt.generator import MotionGenerator
from motiongpt.render import beside
from motiongpt.studio.maker import Maker
from motiongpt.studio.wish import read_wish

GOAL = 0.5  # seconds
PEER = "half a second"
SENTENCES = (
    "a person walks forward", "a man jumps up and down", "a person waves the right hand", "she sits down",
    "a person walks in a circle", "he kicks with the left leg", "a person runs forward", "a person turns around",
)  # fmt: skip


def in_chat(generator: MotionGenerator, sentences: list[str], seconds: float, outputs: Path) -> tuple[list, list]:
    """Seconds from each line to its joints, and from each line to its last file."""
    asked, joints, files = [], [], []

    def lines():
        for sentence in sentences:
            asked.append(time.perf_counter())
            yield sentence
            files.append(time.perf_counter())  # the chat asks for the next line as soon as all is written

    def say(line: str) -> None:
        if " codes, " in line:  # said when the motion is there
            joints.append(time.perf_counter())

    chat(generator, [outputs], lines(), say, seconds=seconds)
    waits = [[there - asked[number] for number, there in enumerate(times)] for times in (joints, files)]
    return waits[0], waits[1]


def in_studio(generator: MotionGenerator, sentences: list[str], seconds: float) -> list[float]:
    """Seconds from each wish to its joints."""
    maker, waits = Maker(generator, "run"), []
    for sentence in sentences:
        started = time.perf_counter()
        wish = read_wish({"text": sentence, "seconds": seconds}, maker.tasks, maker.participants, maker.wordless)
        maker.check(wish)
        maker.understood(wish)
        maker.make(wish, None, lambda share: None)
        waits.append(time.perf_counter() - started)
    return waits


def main(args: argparse.Namespace) -> None:
    beside.begin()  # as sample.py does before it imports torch
    generator = MotionGenerator.load(args.run, say=print)
    sentences = [SENTENCES[number % len(SENTENCES)] for number in range(args.rounds + 1)]  # the first one warms up
    with tempfile.TemporaryDirectory() as folder:
        joints, files = in_chat(generator, sentences, args.seconds, Path(folder) / "chat")
    made = in_studio(generator, sentences, args.seconds)
    length = f"{args.seconds:g} s of motion"
    for what, waits in (
        (f"second sentence in the studio, {length}", made),
        (f"second sentence in a chat, {length}", joints),
        (f"the same with .npy, .gif and .txt written, {length}", files),
    ):
        report(what, waits[1:], [GOAL] * args.rounds, PEER, must=1.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed sentences, after one that warms up (default 7)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of motion (default 10)")
    parser.add_argument("--run", default=str(ROOT / "checkpoints" / "demo"), help="run folder (default: the demo)")
    main(parser.parse_args())
