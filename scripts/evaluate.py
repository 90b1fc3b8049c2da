"""Measure a trained model: a report with numbers and pictures.

    python scripts/evaluate.py --what vqvae --data data/mine --vqvae outputs/vqvae --out outputs/evaluation
    python scripts/evaluate.py --what t2m --data data/mine --run outputs/run --evaluator outputs/evaluator
    python scripts/evaluate.py --what tokens --data tokens.json --run outputs/run
    python scripts/evaluate.py --what predict --data data/mine --run outputs/run
    python scripts/evaluate.py --compare outputs/evaluation_a outputs/evaluation_b

vqvae: how well the motion tokenizer reconstructs motions; an evaluator adds FID and R-precision. t2m, m2t: text to
motion and motion to text by the field's protocol, in the embedding space of an evaluator, repeated, with intervals.
tokens: what the model writes for the captions of a token data set, as codes, without motions or an evaluator.
predict, inbetween: a part of each motion is given, the rest is compared with the real one. The report goes to --out
and replaces an earlier one there. --compare shows the difference of two evaluations.

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), WORK_DIR (the
folder that outputs/ is in).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt.cli.continuous_flags import is_continuous_run
from motiongpt.cli.continuous_sampling import open_continuous
from motiongpt.cli.environment import default_output, fill_tokenizer_from_environment
from motiongpt.cli.evaluate_flags import (
    EVALUATOR_FLAGS,
    GIVEN,
    add_evaluation_flags,
    check_needed_flags,
    check_sizes,
    evaluator_of,
    options_of,
    refuse_beside_compare,
    repeats_of,
)
from motiongpt.cli.opening import named_motion_tokenizer, open_generator, open_with_tokenizer
from motiongpt.cli.parser import Parser, refuse_flags, run_script

DEMO = ROOT / "checkpoints" / "demo"


def open_evaluator(args, data):
    """The evaluator of --evaluator, else the published one for HumanML3D or KIT-ML data if it is there; or None."""
    from motiongpt.evaluation.evaluators import find_evaluator

    return find_evaluator(**evaluator_of(args, ROOT, data.feature_dim))


def protocol_of(args):
    """The protocol that the flags ask for."""
    from motiongpt.evaluation.protocol import ProtocolConfig

    return ProtocolConfig(args.split, args.clips, args.min_frames, seed=args.seed, **repeats_of(args))


def match_reconstruction(args, data, motion_tokenizer):
    """What an evaluator measures of a tokenizer, or None. The published evaluator may fail if nobody asked for it."""
    from motiongpt.evaluation.t2m_m2t import evaluate_t2m

    try:
        if evaluator := open_evaluator(args, data):
            return evaluate_t2m(data, evaluator, motion_tokenizer, protocol=protocol_of(args))
        refuse_flags(args, EVALUATOR_FLAGS, "without an evaluator (--evaluator)")
    except (ValueError, FileNotFoundError) as error:
        if any(getattr(args, name) is not None for name in EVALUATOR_FLAGS):
            raise
        print(f"warning: neither R-precision nor FID by the published evaluator: {error}")


def evaluate_vqvae(args, data):
    from motiongpt.evaluation import reconstruction, report
    from motiongpt.training.devices import pick_device

    motion_tokenizer = named_motion_tokenizer(args, pick_device(args.device))
    matching = match_reconstruction(args, data, motion_tokenizer)
    measured = reconstruction.evaluate_vqvae(motion_tokenizer, data, args.split, args.clips, args.batch_size)
    return report.write_reconstruction(measured, matching, motion_tokenizer, data, args.out)


def evaluate_text(args, data):
    from motiongpt.evaluation import continuous, model_answers, report, t2m_m2t

    evaluator = open_evaluator(args, data)
    if evaluator is None:
        where = "train one with scripts/train_evaluator.py, or fetch a published one with scripts/assets.py"
        raise ValueError(f"--what {args.what} needs an evaluator (--evaluator): {where}")
    options = {"t2m": model_answers.T2MOptions, "m2t": model_answers.M2TOptions}[args.what](**options_of(args))
    if is_continuous_run(args):
        measured = continuous.evaluate_continuous(data, evaluator, open_continuous(args), protocol_of(args), options)
        return report.write_report(measured, data, args.out)
    generator = open_with_tokenizer(args, DEMO, args.what)
    measure = {"t2m": t2m_m2t.evaluate_t2m, "m2t": t2m_m2t.evaluate_m2t}[args.what]
    measured = measure(data, evaluator, generator.motion_tokenizer, generator, protocol_of(args), options)
    return report.write_report(measured, data, args.out)


def evaluate_part(args, data):
    from motiongpt.evaluation import given_codes, report

    options = given_codes.GivenOptions(args.what, **options_of(args))
    generator = open_with_tokenizer(args, DEMO, args.what)
    evaluation = given_codes.evaluate_given(data, generator, options, protocol_of(args))
    return report.write_given(evaluation, data, args.out)


def evaluate_tokens(args, path):
    from motiongpt.evaluation import model_answers, report, token_writing

    generator = open_generator(args, DEMO, device=args.device)
    options = model_answers.T2MOptions(**options_of(args))
    return report.write_tokens(token_writing.evaluate_tokens(path, generator, protocol_of(args), options), args.out)


def make_parser() -> Parser:
    return add_evaluation_flags(Parser(__doc__))


def main(args) -> None:
    check_sizes(args)
    if args.compare:
        from motiongpt.evaluation.comparison import report_comparison

        refuse_beside_compare(args, make_parser())
        print(report_comparison(*args.compare, args.out, args.seed))
        return
    if args.what != "tokens":
        fill_tokenizer_from_environment(args)
    check_needed_flags(args)
    from motiongpt.data.motions import MotionDataset
    from motiongpt.files.folders import check_report_folder, output_path

    args.out = output_path(default_output("evaluation") if args.out is None else args.out, "--out", folder=True)
    check_report_folder(args.out)
    kinds = {"vqvae": evaluate_vqvae, "tokens": evaluate_tokens} | dict.fromkeys(GIVEN, evaluate_part)
    evaluate = kinds.get(args.what, evaluate_text)
    text, paths = evaluate(args, args.data if args.what == "tokens" else MotionDataset(args.data))
    print(f"{text}\nwrote", *paths)


if __name__ == "__main__":
    run_script(main, make_parser(), shared=lambda args: args.what == "vqvae" and not args.compare)
