"""What a trained model is worth: a report with numbers and pictures.

    python scripts/evaluate.py --what vqvae --data data/mine --vqvae outputs/vqvae --out outputs/evaluation

vqvae: how well the motion tokenizer gives back what it was given, on every clip of a split. Writes report.json,
report.md, codes.png and best.gif, median.gif, worst.gif into --out, over those of a former evaluation.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli import Parser, flag_name, run


def evaluate_vqvae(args) -> None:
    from motiongpt import evaluation
    from motiongpt.data.motions import MotionDataset
    from motiongpt.loops import pick_device
    from motiongpt.tokenizer import MotionTokenizer

    data = MotionDataset(args.data)
    tokenizer = MotionTokenizer.load(args.vqvae, pick_device(args.device), args.stats)
    report = evaluation.evaluate_vqvae(tokenizer, data, args.split, args.clips, args.batch_size)
    paths = evaluation.write_vqvae_report(report, tokenizer, data, args.out)
    for clip, reason in report["dropped"].items():
        print(f"dropped {clip}: {reason}")
    print(f"protocol: {evaluation.protocol_line(report['protocol'])}")
    for name, label in (evaluation.ERRORS | evaluation.QUALITIES).items():
        value, original = report["metrics"][name], report["original"].get(name)
        print(f"{label:36} {value:10.4g}" + (f"   original {original:.4g}" if original is not None else ""))
    for q, layer in enumerate(report["codebook"], 1):
        print(f"layer {q}: {layer['active']} of {layer['codes']} codes in use, perplexity {layer['perplexity']:.1f}")
    print("wrote " + " ".join(map(str, paths)))


WHAT = {"vqvae": (("vqvae",), evaluate_vqvae)}
"""Name -> the flags it needs besides --data, and the function that does it."""


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--what", choices=tuple(WHAT), default="vqvae", help="what is evaluated (default: vqvae)")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    parser.add_argument("--vqvae", type=Path, help="tokenizer folder, a run with one, or the file of another project")
    parser.add_argument("--stats", type=Path, help="folder of the Mean.npy and Std.npy of another project's file")
    parser.add_argument("--split", default="test", help="train, val, test or another list of clips (default: test)")
    parser.add_argument("--out", default="outputs/evaluation", help="folder (default: %(default)s)")
    parser.add_argument("--clips", type=int, help="only the first so many usable clips of the split (default: all)")
    parser.add_argument("--batch-size", type=int, default=32, help="clips at a time (default: 32)")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    return parser


def main(args) -> None:
    from motiongpt.motion import output_path

    needed, evaluate = WHAT[args.what]
    for name in needed:
        if getattr(args, name) is None:
            raise ValueError(f"--what {args.what} needs {flag_name(name)}")
    for name in ("clips", "batch_size"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"{flag_name(name)} must be at least 1, got {getattr(args, name)}")
    if Path(args.out).is_file():
        raise FileExistsError(f"--out {args.out} is a file; the report is a folder")
    args.out = output_path(args.out, "--out", folder=True)
    evaluate(args)


if __name__ == "__main__":
    run(main, make_parser())
