"""Does the motion do what the sentence says? Conditions on joints decide, and the model never sees them.

    python scripts/demo_report.py                             # the shipped demo: report.json, report.md and a table
    python scripts/demo_report.py --run outputs/run --rows model sentences --seeds 2
    python scripts/demo_report.py --rows truth --matrix       # which condition passes on motions of which action

The model gets a sentence and a seed, as `scripts/sample.py` would give them; the conditions get the joints.
Environment: WORK_DIR (the folder that outputs/ is in).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt.cli.environment import default_output
from motiongpt.cli.opening import add_tokenizer_flags, open_generator
from motiongpt.cli.parser import Parser, run_script

SPLIT = ("truth", "roundtrip", "model")  # each in two rows: the actions everybody expects, and all others
ROWS = (*(row for name in SPLIT for row in (name, f"{name}-more")), "spellings", "sentences", "sequences", "lengths")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--run", help="run folder, stage folder or Hub repo id (default: outputs/run, else the demo)")
    add("--stage", type=int, help="stage to sample from (default: the highest finished one)")
    add_tokenizer_flags(parser, "tokenizer folder (default: the run's own)")
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="what to measure (default: all)")
    add("--seeds", type=int, default=5, help="motions per plain caption (default 5)")
    add("--sentence-seeds", type=int, default=1, help="motions per frozen sentence (default 1)")
    add("--first-seed", type=int, default=0, help="seeds count up from this one (default 0)")
    where = "benchmarks/demo_sentences.json"
    add("--sentences", type=Path, default=ROOT / where, help=f"JSON of sentences and their actions (default: {where})")
    add("--data", type=Path, help="token file of the training: refuse sentences that are among its captions")
    add("--clips", type=int, default=20, help="fresh motions per action (default 20)")
    add("--data-seed", type=int, help="seed of the fresh motions; take one that training did not use")
    add("--matrix", action="store_true", help="print which condition passes on motions of which action")
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    precision = "precision of the language model's weights (default: bf16 on CUDA from 8.0 on, fp32 elsewhere; a "
    add("--precision", choices=("fp32", "bf16"), help=precision + "seed's motion depends on it)")
    add("--out", type=Path, help="folder of the report (default: outputs/demo_report)")
    return parser


def main(args) -> None:
    from motiongpt.faithfulness import report
    from motiongpt.faithfulness.conditions import CHECKS
    from motiongpt.faithfulness.judge import check_requests, pass_matrix
    from motiongpt.files.store import read_json, write_json, write_text

    # 1) everything that can be wrong, before anything is measured
    check_counts(args)
    sentences = check_requests(read_json(args.sentences, object), args.sentences) if "sentences" in args.rows else []
    checked = check_new(sentences, args.data) if sentences and args.data else None
    out = args.out or default_output("demo_report")
    seed = report.FRESH_SEED if args.data_seed is None else args.data_seed
    generator = load(args) if set(args.rows) - {"truth", "truth-more"} else None
    place = generator.run.folder if generator else "no run"
    print(f"run {place}; fresh motions from seed {seed}; seeds {args.first_seed} and up")

    # 2) row by row
    clips = {}
    if args.matrix or any(row.startswith(("truth", "roundtrip")) for row in args.rows):
        more = [name for name in CHECKS if name not in report.NAMED]
        clips = {name: report.fresh_clips((name,), args.clips, seed) for name in (*report.NAMED, *more)}
    rows = []
    for name in args.rows:
        print(f"measuring {name} ...", flush=True)
        rows.append(measure(name, args, generator, clips, sentences))
    matrix = pass_matrix(clips) if args.matrix else None
    print("\n".join(report.summary(rows) + (report.matrix_lines(matrix) if matrix else [])))

    # 3) the two files
    record = {
        "run": str(place),
        "stage": generator and generator.run.stage,
        "data_seed": seed,
        "first_seed": args.first_seed,
        "device": generator and str(generator.device),
        "dtype": generator and str(generator.run.llm.compute_dtype()).removeprefix("torch."),
        "sentences_checked_against": checked,
        "rows": {row.name: row.record() for row in rows},
    }
    (out / "report.md").unlink(missing_ok=True)  # of an earlier report.json
    write_json(out / "report.json", record | ({"matrix": matrix} if matrix else {}))
    write_text(out / "report.md", report.markdown(f"Faithfulness of {place}", rows, matrix))
    print(f"wrote {out / 'report.json'}\nwrote {out / 'report.md'}")


def check_counts(args) -> None:
    for name, least in {"seeds": 1, "sentence_seeds": 1, "clips": 1, "first_seed": 0, "data_seed": 0}.items():
        if (value := getattr(args, name)) is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")


def measure(name: str, args, generator, clips: dict, sentences: list):
    """One row of the report; `clips` are fresh motions by action, `sentences` the frozen ones with their actions."""
    from motiongpt.faithfulness import report
    from motiongpt.faithfulness.conditions import CHECKS

    kind = name.removesuffix("-more")
    actions = [action for action in CHECKS if action not in report.NAMED] if name != kind else report.NAMED
    if kind in ("truth", "roundtrip"):
        some = {action: clips[action] for action in actions}
        some = report.round_trip(generator.motion_tokenizer, some) if kind == "roundtrip" else some
        return report.clips_row(name, some)
    if kind == "lengths":
        config = generator.run.config
        return report.lengths_row(generator.generate, config.fps, config.frames_per_code, args.first_seed)
    if kind == "sentences":
        requests, count = sentences, args.sentence_seeds
    else:  # plain captions: of one action each for the model and its spellings, of two for sequences
        groups = report.PAIRS if kind == "sequences" else [(action,) for action in actions]
        requests, count = [(report.plain_caption(group), group) for group in groups], args.seeds
    seeds = range(args.first_seed, args.first_seed + count)
    if kind == "spellings":
        return report.spellings_row(requests, seeds, generator.generate)
    return report.model_row(name, [(*request, seed) for request in requests for seed in seeds], generator.generate)


def load(args):
    """The run's generator. Raises ValueError if its motions are not the joints that the conditions know."""
    generator = open_generator(args, ROOT / "checkpoints" / "demo", precision=args.precision, device=args.device)
    if generator.motion_tokenizer is None or generator.motion_tokenizer.skeleton.name != "humanml3d-22":
        raise ValueError(f"{generator.run.folder} writes no joints of humanml3d-22, which the conditions are about")
    return generator


def check_new(sentences: list, data: Path) -> dict:
    """A record of what the sentences were checked against. Raises ValueError if one is a caption of `data`."""
    from motiongpt.data.spelling import fold
    from motiongpt.data.tokens import load_tokens
    from motiongpt.files.hashes import file_hash

    entries = load_tokens(data)
    captions = {fold(entry.text) for entry in entries}
    if read := [text for text, _ in sentences if fold(text) in captions]:
        raise ValueError(f"{len(read)} of the sentences are captions of {data}, such as {read[0]!r}; take new ones")
    return {"file": data.name, "hash": file_hash(data), "entries": len(entries)}


if __name__ == "__main__":
    run_script(main, make_parser())
