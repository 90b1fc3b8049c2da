"""Is a length that was asked for planned, or only cut? How motions end, and whether they stop and start again.

    python benchmarks/planned_length.py                                        # the demo
    python benchmarks/planned_length.py --run checkpoints/demo outputs/run     # two runs, row by row

Twelve sentences at several --seconds and seeds. A motion that was planned comes to rest: a walk of 1.5 s ends on both
feet, a walk of 15 s does not stop half-way, a circle in 3 s is a circle.

    end speed     of the pelvis, m/s, mean of the last 0.25 s
    mid-stride    share of motions whose end speed is above 0.5 m/s
    restarts      share of motions that go (above 0.5 m/s over the ground), stand (below 0.15 m/s for more than 0.3 s)
                  and go again
    turn          of the circles, degrees to the side that was asked for; 360 is a whole one
    length        share of motions whose length is within one code of the wanted one

The first row is the data itself: fresh embedded motions of the same actions at their own lengths.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from motiongpt.config import SampleConfig
from motiongpt.evaluation.markdown import number, table
from motiongpt.evaluation.model_answers import in_batches, run_hash
from motiongpt.faithfulness.fresh import fresh_clips
from motiongpt.faithfulness.measures import Measures
from motiongpt.faithfulness.quality import GOING, end_speed, ground_speed, restarts
from motiongpt.generator import MotionGenerator
from motiongpt.lengths import codes_for_seconds

PROMPTS = {
    "a person walks forward": "walk_forward",
    "a person walks backward": "walk_backward",
    "a person walks in a circle to the left": "walk_circle_left",
    "a person walks in a circle to the right": "walk_circle_right",
    "a person walks sideways to the left": "walk_sideways_left",
    "a person runs forward": "run",
    "a person jogs in place": "jog_in_place",
    "a person jumps": "jump",
    "a person jumps forward": "jump_forward",
    "a person turns around": "turn_around",
    "a person waves the right hand": "wave_right",
    "a person sits down": "sit_down",
}
"""Sentence -> the action it asks for."""

SECONDS = (1.5, 3.0, 5.0, 15.0)
HEAD = ["run", "seconds", "end speed (m/s)", "mid-stride", "restarts", "turn (degrees)", "length", "N"]


@dataclass(frozen=True)
class Ending:
    """What one motion (F, 22, 3) at 20 fps measures."""

    frames: int
    end_speed: float
    restarts: int
    turned: float  # degrees to the left


def measure(joints: np.ndarray) -> Ending:
    """Joints (F, 22, 3) in metres, F >= 2."""
    return Ending(len(joints), end_speed(joints), restarts(ground_speed(joints[:, 0])), Measures(joints).turned)


def write(generator: MotionGenerator, seconds: float | None, seeds: int, batch: int) -> list[tuple[str, np.ndarray]]:
    """(sentence, joints) for every sentence and seed; without `seconds` the model decides."""
    asked = [(sentence, seed) for sentence in PROMPTS for seed in range(seeds)]

    def some(indices: list[int]) -> list[np.ndarray]:
        sentences, drawn = zip(*(asked[i] for i in indices), strict=True)
        motions = generator.generate(list(sentences), seed=list(drawn), seconds=seconds, config=SampleConfig())
        return [motion.joints for motion in motions]

    joints = in_batches([0] * len(asked), batch, some)
    return [(sentence, motion) for (sentence, _), motion in zip(asked, joints, strict=True)]


def row(name: str, seconds: float | None, motions: Sequence[tuple[str, np.ndarray]], wanted: int | None) -> list[str]:
    """One line of the table; `wanted` is the length in frames, if one was asked for."""
    found = [(PROMPTS[sentence], measure(joints)) for sentence, joints in motions]
    endings = [ending for _, ending in found]
    turns = [
        e.turned * (1 if action.endswith("left") else -1) for action, e in found if action.startswith("walk_circle")
    ]
    speeds = np.array([ending.end_speed for ending in endings])
    near = "-"
    if wanted is not None:  # 4 frames are one code
        near = share([abs(ending.frames - wanted) <= 4 for ending in endings])
    again = share([ending.restarts > 0 for ending in endings])
    cells = [f"{speeds.mean():.2f}", share(speeds > GOING), again, f"{np.mean(turns):.0f}", near, str(len(endings))]
    return [name, "own" if seconds is None else f"{seconds:g}", *cells]


def share(tries: Sequence[bool]) -> str:
    return f"{100 * float(np.mean(tries)):.0f} %"


def by_sentence(motions: dict[float | None, list[tuple[str, np.ndarray]]]) -> list[str]:
    """The lines of a table of mean end speeds: a line per sentence, a column per length."""
    lines = []
    for sentence in PROMPTS:
        speeds = [[measure(x).end_speed for text, x in several if text == sentence] for several in motions.values()]
        lines.append([sentence, *(number(float(np.mean(values))) for values in speeds)])
    return table(["end speed (m/s)", *("own" if s is None else f"{s:g} s" for s in motions)], lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    demo = ROOT / "checkpoints" / "demo"
    parser.add_argument("--run", type=Path, nargs="+", default=[demo], help="run folders (default the demo)")
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, help="lengths (default 1.5 3 5 15)")
    parser.add_argument("--seeds", type=int, default=4, help="motions of each sentence and length (default 4)")
    parser.add_argument("--batch-size", type=int, default=48, help="motions at a time (default 48)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--by-sentence", action="store_true", help="end speeds of every sentence, too")
    parser.add_argument("--out", type=Path, help="Markdown file (default: print only)")
    args = parser.parse_args(argv)
    fresh = [(sentence, x) for sentence, action in PROMPTS.items() for x in fresh_clips((action,), args.seeds)]
    lines = [row("the data", None, fresh, None)]
    details = []
    try:
        for place in args.run:
            generator = MotionGenerator(place, device=args.device)
            name = f"{place.name} ({run_hash(generator.run)[:8]})"
            config = generator.run.config
            motions = {s: write(generator, s, args.seeds, args.batch_size) for s in (None, *args.seconds)}
            for seconds, several in motions.items():
                codes = seconds and codes_for_seconds(seconds, config.fps, config.frames_per_code)
                lines.append(row(name, seconds, several, codes and codes * config.frames_per_code))
            details += ["", f"{name}:", "", *by_sentence(motions)] if args.by_sentence else []
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    text = "\n".join([*table(HEAD, lines), *details, ""])
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
