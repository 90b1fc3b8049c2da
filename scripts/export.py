"""Write our weights in the files of other projects, and a tokenizer of another project as our folder.

    python scripts/export.py --format t2m-gpt --vqvae outputs/vqvae --out tokenizer.pth
    python scripts/export.py --format motiongpt --vqvae net_last.pth --stats meta --out outputs/published

Nothing that is there is overwritten.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli.environment import fill_tokenizer_from_environment
from motiongpt.cli.opening import add_tokenizer_flags, named_motion_tokenizer
from motiongpt.cli.parser import Parser, run
from motiongpt.config import flag_name


def export_t2m_gpt(args) -> None:
    from motiongpt.weights.vqvae import save_t2m_gpt

    motion_tokenizer = named_motion_tokenizer(args)
    save_t2m_gpt(motion_tokenizer.vqvae, args.out)
    config = motion_tokenizer.config
    print(f"wrote {args.out}; the file holds no sizes, T2M-GPT is to be told them:")
    print(
        f"  --nb-code {config.codes} --code-dim {config.code_dim} --output-emb-width {config.code_dim} "
        f"--width {config.width} --depth {config.depth} --down-t {config.down} "
        f"--dilation-growth-rate {config.dilation_growth} --vq-act {config.activation}"
    )
    pair = f"Mean.npy and Std.npy of {args.stats or args.vqvae}"
    print(f"its motions have {config.feature_dim} features, normalised with {pair}")


def export_own(args) -> None:
    motion_tokenizer = named_motion_tokenizer(args)
    motion_tokenizer.save(args.out)
    codes, skeleton, fps = motion_tokenizer.config.codes, motion_tokenizer.skeleton.name, motion_tokenizer.fps
    kind = motion_tokenizer.representation.name
    print(f"wrote {args.out}/: {kind}, {skeleton}, {fps:g} fps, {codes} codes")
    print(f"every script takes it: --vqvae {args.out}")


FORMATS = {"t2m-gpt": ("vqvae", export_t2m_gpt), "motiongpt": ("vqvae", export_own)}
"""Name -> the flag that says what is exported, and the function that does it."""


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_tokenizer_flags(parser, "tokenizer folder, or a run with one (t2m-gpt, motiongpt)")
    parser.add_argument("--format", required=True, choices=tuple(FORMATS), help="whose layout (no default)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (motiongpt: folder), not there yet")
    return parser


def main(args) -> None:
    source, export = FORMATS[args.format]
    fill_tokenizer_from_environment(args)
    if getattr(args, source) is None:
        raise ValueError(f"--format {args.format} needs {flag_name(source)}")
    if args.out.exists():
        raise FileExistsError(f"{args.out} is there already; choose another --out, or remove it")
    export(args)


if __name__ == "__main__":
    run(main, make_parser())
