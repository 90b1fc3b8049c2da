"""What a trained model is worth: a report with numbers and pictures.

    python scripts/evaluate.py --what vqvae --data data/mine --vqvae outputs/vqvae --out outputs/evaluation
    python scripts/evaluate.py --what t2m --data data/mine --run outputs/run --evaluator outputs/evaluator
    python scripts/evaluate.py --compare outputs/evaluation_a outputs/evaluation_b

vqvae: how well the motion tokenizer gives back what it was given; with an evaluator, FID and R-precision of that too.
t2m, m2t: text to motion and back by the field's protocol, measured by an evaluator; repeated, with intervals. Writes
report.json, report.md and pictures into --out, over those of a former evaluation. --compare takes two of these.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt import cli
from motiongpt.config import SampleConfig


def open_evaluator(args, data):
    """The evaluator of --evaluator, else the published one for HumanML3D or KIT-ML data, where it is there."""
    from motiongpt.evaluators import PUBLISHED_FILE, Evaluator
    from motiongpt.loops import pick_device

    folder = args.evaluator or ROOT / "checkpoints" / {263: "t2m", 251: "kit"}.get(data.feature_dim, "none")
    if args.evaluator is None and not (folder / PUBLISHED_FILE).is_file():
        raise ValueError(
            f"--what {args.what} needs an evaluator: scripts/train_evaluator.py makes one to name (--evaluator), "
            "scripts/assets.py fetches the published one"
        )
    glove = (args.glove or ROOT / "glove") if (folder / PUBLISHED_FILE).is_file() else args.glove
    return Evaluator.load(folder, glove, args.packing, device=pick_device(args.device))


def say(dropped, protocol: str, markdown: str, paths) -> None:
    for clip, reason in dropped.items():
        print(f"dropped {clip}: {reason}")
    print("\n".join(line for line in markdown.splitlines() if line.startswith(("|", "**", "Perplexity"))))
    print(f"protocol: {protocol}")
    print("wrote " + " ".join(map(str, paths)))


def evaluate_vqvae(args, data) -> None:
    from motiongpt import evaluation
    from motiongpt.loops import pick_device
    from motiongpt.tokenizer import MotionTokenizer

    tokenizer = MotionTokenizer.load(args.vqvae, pick_device(args.device), args.stats)
    evaluator, more, pictures = open_evaluator(args, data) if args.evaluator else None, "", []
    report = evaluation.evaluate_vqvae(tokenizer, data, args.split, args.clips, args.batch_size)
    if evaluator:
        from motiongpt import evaluation_report, text_evaluation

        report["matching"], vectors, _ = text_evaluation.evaluate_t2m(data, evaluator, tokenizer, **common(args))
        more = "\n" + evaluation_report.matching_markdown(report["matching"])
        pictures = evaluation_report.write_pictures(report["matching"], vectors, {}, data, args.out)
    paths = evaluation.write_vqvae_report(report, tokenizer, data, args.out, more)
    for name, label in (evaluation.ERRORS | evaluation.QUALITIES).items():
        value, original = report["metrics"][name], report["original"].get(name)
        print(f"{label:36} {evaluation.number(value)}" + ("" if original is None else f"   original {original:.4g}"))
    for q, layer in enumerate(report["codebook"], 1):
        print(f"layer {q}: {layer['active']} of {layer['codes']} codes in use, perplexity {layer['perplexity']:.1f}")
    say(report["dropped"], evaluation.protocol_line(report["protocol"]), more, paths + pictures)


def evaluate_text(args, data) -> None:
    from motiongpt import evaluation_report, text_evaluation
    from motiongpt.generator import DESCRIBE

    evaluator = open_evaluator(args, data)
    generator = cli.open_generator(args, ROOT / "checkpoints" / "demo", device=args.device)
    cli.check_task(generator, args.what)
    if generator.tokenizer is None:
        raise ValueError(f"{generator.run.folder} has no motion tokenizer; name its folder (--vqvae)")
    m2t = args.what == "m2t"
    config, _ = cli.resolve(SampleConfig, args, *[("describe", DESCRIBE.to_dict())] if m2t else ())
    evaluate = text_evaluation.evaluate_m2t if m2t else text_evaluation.evaluate_t2m
    own = {"policy": args.length_policy or "own", "multimodality_texts": args.multimodality}
    own = {"bert_model": args.bert_score} if m2t else own
    result = evaluate(data, evaluator, generator.tokenizer, generator, config=config, **own, **common(args))
    report, paths, lines = result[0], evaluation_report.write_report(*result, data, args.out), evaluation_report
    say(report["dropped"], lines.protocol_line(report["protocol"]), lines.matching_markdown(report), paths)


def common(args) -> dict:
    return {n: getattr(args, n) for n in ("split", "clips", "min_frames", "repeats", "seed", "batch_size")}


# name: the flags it needs besides --data, and the function that does it
WHAT = {"vqvae": (("vqvae",), evaluate_vqvae), "t2m": ((), evaluate_text), "m2t": ((), evaluate_text)}


def make_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--what", choices=tuple(WHAT), default="vqvae", help="what is evaluated (default: vqvae)")
    add("--data", type=Path, help="dataset folder, from scripts/prepare.py")
    add("--vqvae", type=Path, help="tokenizer folder, a run with one, or the file of another project")
    add("--stats", type=Path, help="folder of the Mean.npy and Std.npy of another project's file")
    add("--run", type=Path, help="t2m, m2t: run folder (default: outputs/run, else the demo)")
    add("--stage", type=int, help="t2m, m2t: stage of the run (default: the last finished one)")
    add("--evaluator", type=Path, help="folder of an evaluator (default: checkpoints/t2m or kit, where it is)")
    add("--glove", type=Path, help="word vectors of a published evaluator (default: glove)")
    add("--packing", choices=("guo", "openmotionlab"), help="how the evaluator reads lengths (default: its own way)")
    add("--split", default="test", help="train, val, test, val+test or another list of clips (default: test)")
    add("--out", default="outputs/evaluation", help="folder (default: %(default)s)")
    add("--clips", type=int, help="only the first so many usable clips of the split (default: all)")
    add("--min-frames", type=int, help="shorter clips are dropped (default: 40 at 20 fps, 24 for KIT-ML)")
    add("--repeats", type=int, default=20, help="of everything random, for the intervals (default: %(default)s)")
    add("--length-policy", choices=("own", "gt", "cut"), help="t2m: who says how long a motion is (default: own)")
    add("--multimodality", type=int, default=100, help="t2m: texts with 30 motions each; 0: none (default: 100)")
    add("--bert-score", metavar="MODEL", help="m2t: BERTScore too, by this model (needs the package bert-score)")
    add("--seed", type=int, default=0, help="of every draw (default: 0)")
    add("--batch-size", type=int, default=32, help="clips at a time (default: 32)")
    add("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add("--compare", type=Path, nargs=2, metavar=("RUN_A", "RUN_B"), help="two folders of evaluations; B minus A")
    cli.add_config_flags(parser, SampleConfig)
    return parser


def main(args) -> None:
    for name, least in (("clips", 1), ("batch_size", 1), ("repeats", 1), ("min_frames", 1), ("multimodality", 0)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise ValueError(f"{cli.flag_name(name)} must be at least {least}, got {getattr(args, name)}")
    if args.compare:
        from motiongpt.evaluation_report import compare, comparison_markdown

        cli.refuse(args, ("data", "vqvae", "run", "evaluator", "clips", "length_policy"), "with --compare")
        print(comparison_markdown(compare(*args.compare, seed=args.seed)))
        return
    from motiongpt.data.motions import MotionDataset
    from motiongpt.motion import output_path

    needed, evaluate = WHAT[args.what]
    for name in ("data", *needed):
        if getattr(args, name) is None:
            raise ValueError(f"--what {args.what} needs {cli.flag_name(name)}")
    alone = ["bert_score", "length_policy", "run", "stage", *SampleConfig.__dataclass_fields__]
    unused = {"t2m": ["bert_score"], "m2t": ["length_policy"], "vqvae": alone}[args.what]
    cli.refuse(args, unused, f"for --what {args.what}")
    args.out = output_path(args.out, "--out", folder=True)
    if "train" in args.split.split("+"):
        print("warning: --split train measures what was learnt by heart; no number of it belongs in a table")
    evaluate(args, MotionDataset(args.data))


if __name__ == "__main__":
    cli.run(main, make_parser())
