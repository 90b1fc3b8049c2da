"""A finished run as a small self-contained folder: what checkpoints/demo is made of.

    python scripts/ship.py --run outputs/demo --data outputs/demo_tokens.json --out checkpoints/demo

Keeps the highest stage, an adapter; the weights it sits on, without motion words, as the backbone; the tokenizer,
prompts and tokens. Weights are rounded to fp16 (and upcast on load). tokens.meta.json is rewritten to name the
rounded tokenizer, so that stages can be trained from the folder.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli import Parser, run


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="finished run folder")
    parser.add_argument("--data", type=Path, required=True, help="the token dataset it was trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must be empty or absent")
    return parser


def main(args) -> None:
    import shutil

    import torch

    from motiongpt.data.tokens import meta_path
    from motiongpt.files import file_hash, read_json, read_tensors, write_json, write_tensors
    from motiongpt.stages import RunConfig, find_base, finished_stages, run_tokenizer, stage_folder
    from motiongpt.tokenizer import MotionTokenizer
    from motiongpt.weights import weights_hash

    if args.out.exists() and any(args.out.iterdir()):
        raise FileExistsError(f"{args.out} is not empty; choose another --out, or remove it")
    stages = finished_stages(args.run)
    if not stages:
        raise FileNotFoundError(f"{args.run} has no finished stage")
    number = max(stages)
    source, folder, backbone = stage_folder(args.run, number), stage_folder(args.out, number), args.out / "backbone"
    if stages[number]["train"] != "lora":
        raise ValueError(
            f"{source} was trained in full; ship an adapter on it: finetune.py --from {source} --train lora"
        )
    config = RunConfig.read(args.run)

    def halve(tensors, path: Path) -> None:
        rounded = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        if any(not torch.isfinite(v).all() for v in rounded.values() if v.is_floating_point()):
            raise ValueError(f"{path.name} does not fit into fp16")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, rounded)

    base = find_base(stages[number]["base"], source)
    tokenizer = run_tokenizer(args.run, config)
    weights = read_tensors(base / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):  # the motion words are the adapter's to bring
        if name in weights:
            weights[name] = weights[name][: tokenizer.size]
    halve(weights, backbone / "model.safetensors")
    write_json(
        backbone / "config.json", read_json(base / "config.json") | {"vocab_size": tokenizer.size, "dtype": "float16"}
    )
    base_hash = weights_hash(backbone)
    for place in (backbone, args.out):
        tokenizer.save(place)

    halve(read_tensors(source / "adapter_model.safetensors"), folder / "adapter_model.safetensors")
    for path in source.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    write_json(folder / "meta.json", stages[number] | {"base": "../backbone", "base_hash": base_hash})
    adapter = read_json(folder / "adapter_config.json")
    write_json(folder / "adapter_config.json", adapter | {"base_model_name_or_path": str(backbone)})

    MotionTokenizer.load(args.run).save(args.out / "vqvae", torch.float16)
    shutil.copyfile(args.run / "prompts.json", args.out / "prompts.json")
    shutil.copyfile(args.data, args.out / "tokens.json")
    rounded = file_hash(args.out / "vqvae" / "model.safetensors")
    write_json(args.out / "tokens.meta.json", read_json(meta_path(args.data)) | {"vqvae": rounded})
    shipped = config.to_dict() | {"backbone": "backbone", "base_hash": base_hash}
    write_json(args.out / "config.json", read_json(args.run / "config.json") | {"RunConfig": shipped})
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"wrote {args.out}/: {size / 1e6:.1f} MB")
    for path in sorted(args.out.rglob("*")):
        if path.is_file():
            print(f"  {path.relative_to(args.out)} {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main, make_parser())
