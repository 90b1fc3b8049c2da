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

from motiongpt.cli.environment import fill_tokenizer_from_environment
from motiongpt.cli.opening import add_tokenizer_flags, named_motion_tokenizer, open_generator
from motiongpt.cli.parser import Parser, add_config_flags, refuse, resolve, run
from motiongpt.config import SampleConfig, flag_name

MATCHING = ("evaluator", "glove", "evaluator_stats", "packing", "min_frames", "repeats")  # flags for an evaluator


def open_evaluator(args, data):
    """The evaluator of --evaluator, else the published one for HumanML3D or KIT-ML data, where it is there; or None."""
    from motiongpt.evaluation.evaluators import PUBLISHED_FILE, Evaluator
    from motiongpt.loops import pick_device

    folder = args.evaluator or ROOT / "checkpoints" / {263: "t2m", 251: "kit"}.get(data.feature_dim, "none")
    published = (folder / PUBLISHED_FILE).is_file()
    if args.evaluator is None and not published:
        return None
    glove = (args.glove or ROOT / "glove") if published else args.glove
    return Evaluator.load(folder, glove, args.packing, args.evaluator_stats, pick_device(args.device))


def settings(args, **others: str) -> dict:
    """What the evaluations of `text_evaluation` take, of the flags that were given; `others`: name there -> flag."""
    names = {name: name for name in ("split", "clips", "min_frames", "repeats", "seed", "batch_size")} | others
    return {name: value for name, flag in names.items() if (value := getattr(args, flag)) is not None}


def match(args, data, motion_tokenizer):
    """What an evaluator says of a tokenizer, or None; the published one, if nobody asked for it, may fail."""
    from motiongpt.evaluation import text as text_evaluation

    try:
        if evaluator := open_evaluator(args, data):
            return text_evaluation.evaluate_t2m(data, evaluator, motion_tokenizer, **settings(args))
        refuse(args, MATCHING, "without an evaluator (--evaluator)")
    except (ValueError, FileNotFoundError) as error:
        if any(getattr(args, name) is not None for name in MATCHING):
            raise
        print(f"warning: neither R-precision nor FID by the published evaluator: {error}")


def evaluate_vqvae(args, data) -> None:
    from motiongpt.evaluation import reconstruction, report
    from motiongpt.evaluation.markdown import screen
    from motiongpt.loops import pick_device

    motion_tokenizer = named_motion_tokenizer(args, pick_device(args.device))
    matched = match(args, data, motion_tokenizer)
    result = reconstruction.evaluate_vqvae(motion_tokenizer, data, args.split, args.clips, args.batch_size)
    text, paths = report.write_reconstruction(result, matched, motion_tokenizer, data, args.out)
    print(screen(result | ({"matching": matched[0]} if matched else {}), text))
    print("wrote", *paths)


def evaluate_text(args, data) -> None:
    from motiongpt.evaluation import report as evaluation_report
    from motiongpt.evaluation import text as text_evaluation
    from motiongpt.evaluation.markdown import matching_markdown, screen
    from motiongpt.generator import DESCRIBE

    if not (evaluator := open_evaluator(args, data)):
        where = "scripts/train_evaluator.py makes one to name (--evaluator), scripts/assets.py fetches published ones"
        raise ValueError(f"--what {args.what} needs an evaluator: {where}")
    generator = open_generator(args, ROOT / "checkpoints" / "demo", args.what, device=args.device)
    if generator.motion_tokenizer is None:
        raise ValueError(f"{generator.run.folder} has no motion tokenizer; name its folder (--vqvae)")
    evaluate = getattr(text_evaluation, f"evaluate_{args.what}")
    config, _ = resolve(SampleConfig, args, *[("describe", DESCRIBE.to_dict())] if args.what == "m2t" else ())
    renamed = {"policy": "length_policy", "multimodality_texts": "multimodality", "bert_model": "bert_score"}
    more = settings(args, perplexity="perplexity", **renamed)
    result = evaluate(data, evaluator, generator.motion_tokenizer, generator, config=config, **more)
    paths = evaluation_report.write_report(*result, data, args.out)
    print(screen(result[0], matching_markdown(result[0])))
    print("wrote", *paths)


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--what", choices=("vqvae", "t2m", "m2t"), default="vqvae", help="what is evaluated (default: vqvae)")
    add("--data", type=Path, help="dataset folder, from scripts/prepare.py")
    add_tokenizer_flags(parser, "tokenizer folder, a run with one")
    add("--run", type=Path, help="t2m, m2t: run folder (default: outputs/run, else the demo)")
    add("--stage", type=int, help="t2m, m2t: stage of the run (default: the last finished one)")
    add("--evaluator", type=Path, help="folder of an evaluator (default: checkpoints/t2m or kit, where it is)")
    add("--glove", type=Path, help="word vectors of a published evaluator (default: glove)")
    add("--evaluator-stats", type=Path, help="mean.npy and std.npy of a published evaluator (default: in its meta/)")
    add("--packing", choices=("guo", "openmotionlab"), help="how the evaluator reads lengths (default: its own way)")
    add("--split", default="test", help="train, val, test, val+test or another list of clips (default: test)")
    add("--out", default="outputs/evaluation", help="folder (default: %(default)s)")
    add("--clips", type=int, help="only the first so many usable clips of the split (default: all)")
    add("--min-frames", type=int, help="shorter clips are dropped (default: 40 at 20 fps, 24 for KIT-ML)")
    add("--repeats", type=int, help="of everything random, for the intervals (default: 20)")
    add("--length-policy", choices=("own", "gt", "cut"), help="t2m: who says how long a motion is (default: own)")
    add("--multimodality", type=int, help="t2m: texts with 30 motions each; 0: none (default: 100)")
    add("--perplexity", choices=("all", "stage", "none"), help="t2m, m2t: of which finished stages (default: all)")
    add("--bert-score", metavar="MODEL", help="m2t: BERTScore too, by this model (needs the package bert-score)")
    add("--seed", type=int, default=0, help="of every draw (default: 0)")
    add("--batch-size", type=int, default=32, help="clips at a time (default: 32)")
    add("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add("--compare", type=Path, nargs=2, metavar=("RUN_A", "RUN_B"), help="two evaluations, B minus A; --out keeps it")
    add_config_flags(parser, SampleConfig)
    return parser


def main(args) -> None:
    for name, least in (("clips", 1), ("batch_size", 1), ("repeats", 1), ("min_frames", 1), ("multimodality", 0)):
        if (value := getattr(args, name)) is not None and value < least:
            raise ValueError(f"{flag_name(name)} must be at least {least}, got {value}")
    if args.compare:
        from motiongpt.evaluation.comparison import report_comparison

        given = make_parser().parse_args(namespace=type(args)(**dict.fromkeys(vars(args))))  # None: not asked for
        refuse(given, [x for x in vars(given) if x not in ("compare", "out", "seed", "debug")], "with --compare")
        print(report_comparison(*args.compare, given.out, seed=args.seed))
        return
    from motiongpt.data.motions import MotionDataset
    from motiongpt.files.folders import check_report_folder, output_path

    fill_tokenizer_from_environment(args)
    for name in ("data", "vqvae") if args.what == "vqvae" else ("data",):
        if getattr(args, name) is None:
            raise ValueError(f"--what {args.what} needs {flag_name(name)}")
    alone = "bert_score length_policy multimodality perplexity run stage".split() + [*SampleConfig.__dataclass_fields__]
    unused = {"t2m": alone[:1], "m2t": alone[1:3], "vqvae": alone}[args.what]
    refuse(args, unused, f"for --what {args.what}")
    args.out = output_path(args.out, "--out", folder=True)
    check_report_folder(args.out)
    (evaluate_vqvae if args.what == "vqvae" else evaluate_text)(args, MotionDataset(args.data))


if __name__ == "__main__":
    run(main, make_parser())
