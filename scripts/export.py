"""Write our weights and tokens in the file formats of other projects, or a tokenizer of another project as our folder.

    python scripts/export.py --format hf --run outputs/run --out outputs/model
    python scripts/export.py --format peft --run outputs/run --dtype fp16 --base-name Qwen/Qwen3-0.6B --out adapter
    python scripts/export.py --format t2m-gpt --vqvae outputs/vqvae --out tokenizer.pth
    python scripts/export.py --format motiongpt --vqvae net_last.pth --stats meta --out outputs/published
    python scripts/export.py --format instructions --data tokens.json --out data/zhang

hf is a whole model for transformers, adapters and motion words merged, and a --backbone again; it is no run, so
sample.py does not open it. peft is the adapter with its motion words, for AutoPeftModelForCausalLM. Both have a README
with a program that writes a motion.

No file or folder is overwritten. Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae),
VQVAE_STATS_PATH (--stats).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
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
    from motiongpt.files.store import new_folder

    motion_tokenizer = named_motion_tokenizer(args)
    with new_folder(args.out) as folder:
        motion_tokenizer.save(folder)
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


def export_hf(args) -> None:
    from motiongpt.stages.export import DTYPES, export_hf

    refuse_flags(args, ["base_name"], "with --format hf, which holds the base itself")
    done = export_hf(args.run, args.out, args.stage, DTYPES[args.dtype or "fp32"])
    say_exported(done, f"it is a backbone: python scripts/finetune.py --stage 1 --backbone {args.out} --out RUN")


def export_peft(args) -> None:
    from motiongpt.stages.export import DTYPES, export_peft

    done = export_peft(args.run, args.out, args.stage, DTYPES[args.dtype or "fp32"], args.base_name)
    say_exported(done, f"PEFT loads it onto {done.base}")


def say_exported(done, use: str) -> None:
    print(f"wrote {done.folder}/: stage {done.stage}, {done.megabytes:.1f} MB of weights; README.md says how to use it")
    print(use)


FORMATS = {
    "hf": ("run", export_hf),
    "peft": ("run", export_peft),
    "t2m-gpt": ("vqvae", export_t2m_gpt),
    "motiongpt": ("vqvae", export_own),
    "instructions": ("data", export_instructions),
}
"""Format -> (the flag that names what is exported, the function that does it)."""

FLAGS = {"run": ("run", "stage", "dtype", "base_name"), "vqvae": TOKENIZER_FLAGS, "data": ("data",)}
"""The flag that names what is exported -> the flags that go with it."""


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_tokenizer_flags(parser, "tokenizer folder, or a run with one")
    add = parser.add_argument
    add("--run", type=Path, help="hf, peft: run folder or one of its stage folders")
    add("--stage", type=int, help="hf, peft: number of a finished stage (default: the highest that learnt t2m)")
    add("--dtype", choices=("fp32", "fp16", "bf16"), help="hf, peft: precision of the weights (default: fp32)")
    add("--base-name", help="peft: how others find the base, a repo id or folder (default: its repo id or full path)")
    add("--data", type=Path, help="instructions: token dataset, a JSON file or a folder of codes")
    add("--format", required=True, choices=tuple(FORMATS), help="whose file format (no default)")
    add("--out", type=Path, required=True, help="file to write (t2m-gpt), else folder; must not exist")
    return parser


def main(args) -> None:
    source, export = FORMATS[args.format]
    refuse_flags(
        args, [name for other in FLAGS if other != source for name in FLAGS[other]], f"with --format {args.format}"
    )
    if source == "vqvae":
        fill_tokenizer_from_environment(args)
    if getattr(args, source) is None:
        raise ValueError(f"--format {args.format} needs {flag_name(source)}")
    if args.out.exists():
        raise FileExistsError(f"{args.out} is there already; choose another --out, or remove it")
    export(args)


if __name__ == "__main__":
    run_script(main, make_parser())
