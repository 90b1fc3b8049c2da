"""Write our weights in the file formats of other projects, or a tokenizer of another project as our folder.

    python scripts/export.py --format t2m-gpt --vqvae outputs/vqvae --out tokenizer.pth
    python scripts/export.py --format motiongpt --vqvae net_last.pth --stats meta --out outputs/published

No file or folder is overwritten. Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae),
VQVAE_STATS_PATH (--stats).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import fill_tokenizer_from_environment
from motiongpt.cli.opening import add_tokenizer_flags, named_motion_tokenizer
from motiongpt.cli.parser import Parser, run_script
from motiongpt.config import flag_name


def export_t2m_gpt(args) -> None:
    from motiongpt.weights.vqvae import save_t2m_gpt

    motion_tokenizer = named_motion_tokenizer(args)
    save_t2m_gpt(motion_tokenizer.vqvae, args.out)
    config = motion_tokenizer.config
    print(f"wrote {args.out}; the file holds no sizes, so T2M-GPT needs these flags:")
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
    kind, skeleton = motion_tokenizer.representation.name, motion_tokenizer.skeleton.name
    print(f"wrote {args.out}/: {kind}, {skeleton}, {motion_tokenizer.fps:g} fps, {motion_tokenizer.config.codes} codes")
    print(f"every script takes it: --vqvae {args.out}")


FORMATS = {"t2m-gpt": ("vqvae", export_t2m_gpt), "motiongpt": ("vqvae", export_own)}
"""Format -> (the flag that names what is exported, the function that does it)."""


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_tokenizer_flags(parser, "tokenizer folder, or a run with one")
    parser.add_argument("--format", required=True, choices=tuple(FORMATS), help="whose file format (no default)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (motiongpt: folder); must not exist")
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
    run_script(main, make_parser())
