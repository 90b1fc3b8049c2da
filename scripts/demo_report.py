"""Does the motion do what the sentence says? Conditions on joints decide.

    python scripts/demo_report.py                             # the shipped demo: report.json, report.md and a table
    python scripts/demo_report.py --run outputs/run --rows model sentences --seeds 2
    python scripts/demo_report.py --rows truth --matrix       # which condition passes on motions of which action
    python scripts/demo_report.py --rows free --sheets DIR    # free sentences by category, and 20 of the motions
    python scripts/demo_report.py --rows described described-real --data tokens.json  # motions to sentences

The model gets a sentence and a seed, as `scripts/sample.py` would give them; the conditions get the joints. Only a
reward stage trains on them.
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
MANNERS = ("truth-manners", "roundtrip-manners")
ROWS = (*(row for name in SPLIT for row in (name, f"{name}-more")), *MANNERS)
DESCRIBED = ("described", "described-real")  # the other way round: motions of --data to sentences
ROWS += ("spellings", "sentences", "free", "counts", "manners", "sequences", "lengths", "quality", *DESCRIBED)
UNLEARNT = ("truth", "truth-more", "truth-manners")  # rows that need no run


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
    for name, where in {
        "sentences": "benchmarks/demo_sentences.json",
        "free": "benchmarks/free_sentences.json",
    }.items():
        add(f"--{name}", type=Path, default=ROOT / where, help=f"JSON of sentences and their wants (default: {where})")
    add("--sheets", type=Path, help="folder for contact sheets of 20 of the motions of frozen sentences")
    add("--data", type=Path, help="token file of the training: describe its test clips, leave out its captions")
    add("--clips", type=int, default=20, help="fresh motions per action (default 20)")
    add("--data-seed", type=int, help="seed of the fresh motions; take one that training did not use")
    add("--matrix", action="store_true", help="print which condition passes on motions of which action")
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    precision = "precision of the language model's weights (default: bf16 on CUDA from 8.0 on, fp32 elsewhere; a "
    add("--precision", choices=("fp32", "bf16"), help=precision + "seed's motion depends on it)")
    add("--out", type=Path, help="folder of the report (default: outputs/demo_report)")
    return parser


def main(args) -> None:
    from motiongpt.data.spelling import fold
    from motiongpt.data.tokens import load_tokens, tokens_hash
    from motiongpt.evaluation.action_naming import named_actions
    from motiongpt.evaluation.token_writing import check_same_codes
    from motiongpt.faithfulness import report, rows
    from motiongpt.faithfulness.described import Described, clips_by_row
    from motiongpt.faithfulness.judge import pass_matrix
    from motiongpt.faithfulness.wants import leave_out, read_sentences
    from motiongpt.files.store import read_json, write_json, write_text

    # 1) everything that can be wrong, before anything is measured
    check_counts(args)
    files = {name: path for name, path in (("sentences", args.sentences), ("free", args.free)) if name in args.rows}
    sentences = {name: read_sentences(read_json(path, object), path) for name, path in files.items()}
    describes = bool(set(args.rows) & set(DESCRIBED))
    entries = load_tokens(args.data) if args.data and (files or describes) else []
    checked = None
    if files and entries:
        captions = {fold(text) for entry in entries for text in (entry.text, entry.plain) if text}
        read = leave_out(sentences, lambda sentence: fold(sentence) in captions, args.data)
        print(f"left out, as captions of {args.data}: {', '.join(map(repr, read)) or 'none'}")
        hashed = {"file": args.data.name, "hash": tokens_hash(args.data, entries), "entries": len(entries)}
        checked = hashed | {"left_out": read}
    out = args.out or default_output("demo_report")
    generator = load(args) if set(args.rows) - set(UNLEARNT) else None
    if describes and entries:
        check_same_codes(generator, entries, args.data)
    place = generator.run.folder if generator else "no run"
    study = rows.Study(generator, args.seeds, args.sentence_seeds, args.first_seed, args.clips, sentences=sentences)
    if args.data_seed is not None:
        study.data_seed = args.data_seed
    sheets = report.Sheets(args.sheets) if args.sheets else None
    study.seen = sheets and sheets.see
    study.described = Described(generator, clips_by_row(entries), named_actions)
    print(f"run {place}; fresh motions from seed {study.data_seed}; seeds {args.first_seed} and up")

    # 2) row by row
    measured = []
    for name in args.rows:
        print(f"measuring {name} ...", flush=True)
        measured.append(study.measure(name))
        for line in (*report.group_lines(measured[-1]), *report.number_lines(measured[-1])):
            print(line)
    matrix = pass_matrix(study.clips) if args.matrix else None
    print("\n".join(report.summary(measured) + (report.matrix_lines(matrix) if matrix else [])))
    if sheets:
        print(f"wrote {len(sheets.write())} contact sheets to {args.sheets}")

    # 3) the files
    record = {
        "run": str(place),
        "stage": generator and generator.run.stage,
        "data_seed": study.data_seed,
        "first_seed": args.first_seed,
        "device": generator and str(generator.device),
        "dtype": generator and str(generator.run.llm.compute_dtype()).removeprefix("torch."),
        "sentences_checked_against": checked,
        "rows": {row.name: row.record() for row in measured},
    }
    (out / "report.md").unlink(missing_ok=True)  # of an earlier report.json
    write_json(out / "report.json", record | ({"matrix": matrix} if matrix else {}))
    write_text(out / "report.md", report.markdown(f"Faithfulness of {place}", measured, matrix))
    for path in (*study.described.write(out), out / "report.json", out / "report.md"):
        print(f"wrote {path}")


def check_counts(args) -> None:
    for name, least in {"seeds": 1, "sentence_seeds": 1, "clips": 1, "first_seed": 0, "data_seed": 0}.items():
        if (value := getattr(args, name)) is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")


def load(args):
    """The run's generator. Raises ValueError if its motions are not the joints that the conditions know."""
    generator = open_generator(args, ROOT / "checkpoints" / "demo", precision=args.precision, device=args.device)
    if generator.motion_tokenizer is None or generator.motion_tokenizer.skeleton.name != "humanml3d-22":
        raise ValueError(f"{generator.run.folder} writes no joints of humanml3d-22, which the conditions are about")
    return generator


if __name__ == "__main__":
    run_script(main, make_parser())
