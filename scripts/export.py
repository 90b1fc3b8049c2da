"""Write our weights and tokens in the file formats of other projects, or a tokenizer of another project as our folder.

    python scripts/export.py --format t2m-gpt --vqvae outputs/vqvae --out tokenizer.pth
    python scripts/export.py --format motiongpt --vqvae net_last.pth --stats meta --out outputs/published
    python scripts/export.py --format instructions --data tokens.json --out data/zhang

No file or folder is overwritten. Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae),
VQVAE_STATS_PATH (--stats).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import fill_tokenizer_from_environment
from motiongpt.cli.opening import TOKENIZER_FLAGS, add_tokenizer_flags, named_motion_tokenizer
from motiongpt.cli.parser import Parser, refuse_flags, run_script
from motiongpt.config import flag_name


def export_t2m_gpt(args) -> None:
    from motiongpt.weights.vqvae import save_t2m_gpt

    motion_tokenizer = named_motion_tokenizer(args)
    save_t2m_gpt(motion_tokenizer.vqvae, args.out, motion_tokenizer.facts())
    config = motion_tokenizer.config
    print(f"wrote {args.out}; the file holds no sizes, so T2M-GPT needs these flags:")
    print(
        f"  --nb-code {config.codes} --code-dim {config.code_dim} --output-emb-width {config.code_dim} "
        f"--width {config.width} --depth {config.depth} --down-t {config.down} "
        f"--dilation-growth-rate {config.dilation_growth} --vq-act {config.activation}"
    )
    pair = f"Mean.npy and Std.npy of {args.stats or args.vqvae}"
    print(f"every script here takes it: --vqvae {args.out} --stats FOLDER of that pair")
    print(f"its motions have {config.feature_dim} features, normalised with {pair}")


def export_own(args) -> None:
    motion_tokenizer = named_motion_tokenizer(args)
    motion_tokenizer.save(args.out)
    kind, skeleton = motion_tokenizer.representation.name, motion_tokenizer.skeleton.name
    print(f"wrote {args.out}/: {kind}, {skeleton}, {motion_tokenizer.fps:g} fps, {motion_tokenizer.config.codes} codes")
    print(f"every script takes it: --vqvae {args.out}")


def export_instructions(args) -> None:
    from motiongpt.data.token_formats import write_instructions
    from motiongpt.data.tokens import load_tokens, read_tokens_meta, to_records

    meta = read_tokens_meta(args.data)
    meta.pop("tokens", None)  # the hash of the file that is read here
    counts = write_instructions(args.out, to_records(load_tokens(args.data), args.data), meta)
    found = ", ".join(f"{count:,} rows in {split}.json" for split, count in counts.items())
    print(f"wrote {args.out}/: {found}; four rows per caption (instruction, input, output)")
    print("for Zhang et al.'s code: copy train.json and val.json into its data/, then python scripts/prepare_motion.py")


FORMATS = {
    "t2m-gpt": ("vqvae", export_t2m_gpt),
    "motiongpt": ("vqvae", export_own),
    "instructions": ("data", export_instructions),
}
"""Format -> (the flag that names what is exported, the function that does it)."""


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_tokenizer_flags(parser, "tokenizer folder, or a run with one")
    parser.add_argument("--data", type=Path, help="instructions: token dataset, a JSON file or a folder of codes")
    parser.add_argument("--format", required=True, choices=tuple(FORMATS), help="whose file format (no default)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (t2m-gpt), else folder; must not exist")
    return parser


def main(args) -> None:
    source, export = FORMATS[args.format]
    if source == "vqvae":
        refuse_flags(args, ["data"], f"with --format {args.format}")
        fill_tokenizer_from_environment(args)
    else:
        refuse_flags(args, TOKENIZER_FLAGS, f"with --format {args.format}")
    if getattr(args, source) is None:
        raise ValueError(f"--format {args.format} needs {flag_name(source)}")
    if args.out.exists():
        raise FileExistsError(f"{args.out} is there already; choose another --out, or remove it")
    export(args)


if __name__ == "__main__":
    run_script(main, make_parser())
