"""Turn a finished run into a small folder that needs nothing outside it, such as checkpoints/demo.

    python scripts/ship.py --run outputs/demo --data outputs/demo_tokens.json --out checkpoints/demo --clips 2000

The folder holds every finished stage, which must be adapters on one base; that base as the backbone; the motion
tokenizer, prompts and tokens. It samples alone, and stages can be trained from it. Weights are rounded to fp16. OUT
appears when it is whole.

    python scripts/ship.py --run outputs/reader --out checkpoints/demo-smollm2 --base ../smollm2

With --base the folder holds the adapters alone, for people who have their base already.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.parser import Parser, refuse_flags, run_script


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--run", type=Path, required=True, help="finished run folder")
    add("--data", type=Path, help="the token dataset it was trained on (needed without --base)")
    add("--out", type=Path, required=True, help="folder to write; must be empty or absent")
    add("--clips", type=int, help="keep the tokens and captions of so many clips (default: all)")
    add(
        "--name",
        type=Path,
        help="where you will put the folder, such as checkpoints/demo: adapters name their base by it (default: --out)",
    )
    add(
        "--reader", metavar="RUN", help="the run that reads sentences for it, relative to the folder (default: its own)"
    )
    add("--best-of", type=int, help="motions it writes of a sentence, to keep the one it describes best (default: 1)")
    add("--base", metavar="FOLDER", help="leave the base out; it will lie there, relative to the folder")
    return parser


def main(args) -> None:
    from motiongpt.stages.ship import ship_adapters, ship_run

    if args.base:
        refuse_flags(args, ["data", "clips", "reader", "best_of"], "with --base, which ships adapters alone")
        ship_adapters(args.run, args.out, args.base, args.name)
    elif args.data is None:
        raise ValueError("--data is needed: the token dataset that the run was trained on")
    else:
        ship_run(args.run, args.data, args.out, args.clips or 0, args.name, args.reader, args.best_of)
    files = [path for path in sorted(args.out.rglob("*")) if path.is_file()]
    print(f"wrote {args.out}/: {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    for path in files:
        print(f"  {path.relative_to(args.out)} {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_script(main, make_parser())
