"""Does the motion do what the sentence says? Measured by conditions on joints that the model never sees.

    python scripts/demo_report.py                             # the shipped demo: report.json, report.md and a table
    python scripts/demo_report.py --run outputs/run --rows model sentences --seeds 2
    python scripts/demo_report.py --rows truth --matrix       # which condition passes on motions of which action

The model gets a sentence and a seed, as `scripts/sample.py` would give them; the conditions get the joints.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt.cli.opening import add_tokenizer_flags, open_generator
from motiongpt.cli.parser import Parser, run
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, write_atomic, write_json

SPLIT = ("truth", "roundtrip", "model")  # each in two rows: the actions everybody expects, and all others
ROWS = (*(row for name in SPLIT for row in (name, f"{name}-more")), "sentences", "sequences", "lengths")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--run", help="run folder, stage folder or Hub repo id (default: outputs/run, else the demo)")
    parser.add_argument("--stage", type=int, help="stage to sample from (default: the highest finished one)")
    add_tokenizer_flags(parser, "tokenizer folder (default: the run's own)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what to measure (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="motions per plain caption (default 5)")
    parser.add_argument("--sentence-seeds", type=int, default=1, help="motions per frozen sentence (default 1)")
    parser.add_argument("--first-seed", type=int, default=0, help="seeds are this one and the next ones (default 0)")
    parser.add_argument("--sentences", type=Path, default=ROOT / "benchmarks" / "demo_sentences.json",
                        help="sentences and actions (default: benchmarks/demo_sentences.json)")  # fmt: skip
    parser.add_argument(
        "--data", type=Path, help="token file of the training: refuse sentences that it has as captions"
    )
    parser.add_argument("--clips", type=int, default=20, help="fresh motions per action (default 20)")
    parser.add_argument("--data-seed", type=int, help="seed of the fresh motions; not one that training used")
    parser.add_argument("--matrix", action="store_true", help="print which condition passes on which action's motions")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of the language model's weights (default: bf16 "
                        "on CUDA from 8.0 on, fp32 elsewhere; a seed's motion depends on it)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("outputs/demo_report"), help="folder of the report")
    return parser


def main(args) -> None:
    from motiongpt.faithfulness import report
    from motiongpt.faithfulness.conditions import CHECKS
    from motiongpt.faithfulness.judge import check_tasks, pass_matrix

    for name in ("seeds", "sentence_seeds", "clips"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be 1 or more, got {getattr(args, name)}")
    for name in ("first_seed", "data_seed"):
        if (getattr(args, name) or 0) < 0:
            raise ValueError(f"--{name.replace('_', '-')} must be 0 or more, got {getattr(args, name)}")
    sentences = check_tasks(read_json(args.sentences, object), args.sentences) if "sentences" in args.rows else []
    checked = check_new(sentences, args.data) if sentences and args.data else None
    seed = report.FRESH_SEED if args.data_seed is None else args.data_seed
    generator = load(args) if set(args.rows) - {"truth", "truth-more"} else None
    place = generator.run.folder if generator else "no run"
    print(f"run {place}; fresh motions from seed {seed}; seeds {args.first_seed} and up")

    more = [name for name in CHECKS if name not in report.NAMED]
    clips = {}
    if args.matrix or any(row.startswith(("truth", "roundtrip")) for row in args.rows):
        clips = {name: report.fresh_clips((name,), args.clips, seed) for name in (*report.NAMED, *more)}

    def some(names) -> dict:
        return {name: clips[name] for name in names}

    def seeds(count: int) -> range:
        return range(args.first_seed, args.first_seed + count)

    def asked(groups) -> list:
        return [(report.plain_caption(group), group, s) for group in groups for s in seeds(args.seeds)]

    make = {
        "truth": lambda name, actions: report.clips_row(name, some(actions)),
        "roundtrip": lambda name, actions: report.clips_row(
            name, round_trip(generator.motion_tokenizer, some(actions))
        ),
        "model": lambda name, actions: report.model_row(name, asked([(a,) for a in actions]), generator.generate),
        "sentences": lambda name, _: report.model_row(
            name, [(*task, s) for task in sentences for s in seeds(args.sentence_seeds)], generator.generate
        ),
        "sequences": lambda name, _: report.model_row(name, asked(report.PAIRS), generator.generate),
        "lengths": lambda *_: report.lengths_row(
            generator.generate, generator.run.config.fps, generator.run.config.frames_per_code, args.first_seed
        ),
    }
    rows = []
    for name in args.rows:
        print(f"measuring {name} ...", flush=True)
        actions = more if name.endswith("-more") else report.NAMED
        rows.append(make[name.removesuffix("-more")](name, actions))
    matrix = pass_matrix(clips) if args.matrix else None
    print("\n".join(report.summary(rows) + (report.matrix_lines(matrix) if matrix else [])))

    record = {"run": str(place), "stage": generator and generator.run.stage, "data_seed": seed,
              "first_seed": args.first_seed, "device": generator and str(generator.device),
              "dtype": generator and str(generator.run.llm.compute_dtype()).removeprefix("torch."),
              "sentences_checked_against": checked, "rows": {row.name: row.record() for row in rows}}  # fmt: skip
    write_json(args.out / "report.json", record | ({"matrix": matrix} if matrix else {}))
    text = report.markdown(f"Faithfulness of {place}", rows, matrix)
    write_atomic(args.out / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    for name in ("report.json", "report.md"):
        print(f"wrote {args.out / name}")


def load(args):
    """The run's generator; ValueError where its motions are no joints that the conditions know."""
    generator = open_generator(args, ROOT / "checkpoints" / "demo", precision=args.precision, device=args.device)
    if generator.motion_tokenizer is None or generator.motion_tokenizer.skeleton.name != "humanml3d-22":
        raise ValueError(f"{generator.run.folder} writes no joints of humanml3d-22, which the conditions are about")
    return generator


def check_new(sentences: list, data: Path) -> dict:
    """What the sentences were checked against; ValueError where a caption of `data` is one of them."""
    from motiongpt.data.tokens import load_tokens

    entries = load_tokens(data)
    captions = {" ".join(entry.text.lower().split()) for entry in entries}
    if read := [text for text, _ in sentences if " ".join(text.lower().split()) in captions]:
        raise ValueError(f"{len(read)} of the sentences are captions of {data}, such as {read[0]!r}; take new ones")
    return {"file": data.name, "hash": file_hash(data), "entries": len(entries)}


def round_trip(motion_tokenizer, clips: dict) -> dict:
    """Joints -> features -> codes -> joints."""
    from motiongpt.features.humanml3d import joints_to_features

    features = {
        name: [joints_to_features(x, motion_tokenizer.skeleton) for x in several] for name, several in clips.items()
    }
    return {name: motion_tokenizer.decode(motion_tokenizer.encode(several)) for name, several in features.items()}


if __name__ == "__main__":
    run(main, make_parser())
