"""A finished run as a small self-contained folder: what checkpoints/demo is made of.

    python scripts/ship.py --run outputs/demo --data outputs/demo_tokens.json --out checkpoints/demo --clips 2000

Keeps every finished stage, adapters on one base; that base as the backbone, which knows its motion words where it was
trained on them; the tokenizer, prompts and tokens. Weights are rounded to fp16 (and upcast on load). tokens.meta.json
is rewritten to name the rounded tokenizer, so that stages can be trained from the folder. --clips N keeps prompts.json
short: it lists the captions of N clips, with lengths and codes as the whole data set has them. --name is the path that
the adapters give for their base, where the folder is to be copied elsewhere. OUT appears when it is whole; until then
it is OUT.partial.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli.parser import Parser, run


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="finished run folder")
    parser.add_argument("--data", type=Path, required=True, help="the token dataset it was trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must be empty or absent")
    parser.add_argument("--clips", type=int, default=0, help="list the captions of so many clips (default 0: all)")
    parser.add_argument("--name", type=Path, help="folder it will be, such as checkpoints/demo (default: --out)")
    return parser


def main(args) -> None:
    import shutil

    import torch

    from motiongpt.data.tokens import load_tokens, meta_path, save_tokens
    from motiongpt.files.hashes import file_hash
    from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
    from motiongpt.motion_tokenizer import MotionTokenizer
    from motiongpt.stages.model import motion_words, run_text_tokenizer
    from motiongpt.stages.run import RunConfig, find_base, finished_stages, split_seed, stage_folder
    from motiongpt.vocab import MotionVocab
    from motiongpt.weights.llm import weights_hash

    if args.clips < 0:
        raise ValueError(f"--clips must be 0 or more, got {args.clips}")
    if args.out.exists() and any(args.out.iterdir()):
        raise FileExistsError(f"{args.out} is not empty; choose another --out, or remove it")
    stages = finished_stages(args.run)
    if not stages:
        raise FileNotFoundError(f"{args.run} has no finished stage")
    for number, meta in stages.items():
        if meta["train"] != "lora":
            source = stage_folder(args.run, number)
            raise ValueError(
                f"{source} was trained in full; ship an adapter on it: finetune.py --from {source} --train lora"
            )
    bases = {find_base(meta["base"], stage_folder(args.run, number)).resolve() for number, meta in stages.items()}
    if len(bases) > 1:
        raise ValueError(f"the stages of {args.run} sit on different bases: {', '.join(map(str, sorted(bases)))}")
    base = bases.pop()
    config, entries = RunConfig.read(args.run), load_tokens(args.data, split_seed(args.run))
    facts, prompts = read_json(meta_path(args.data)), read_json(args.run / "prompts.json")
    text_tokenizer, vqvae = run_text_tokenizer(args.run, config), MotionTokenizer.load(args.run)
    weights = read_tensors(base / "model.safetensors")
    if args.clips:
        if not all(entry.id for entry in entries):
            raise ValueError(f"--clips needs an id in every entry of {args.data}, to know which are of one clip")
        kept = set(sorted({entry.id for entry in entries})[: args.clips])  # by number, so some of every split
        said = {entry.text for entry in entries if entry.id in kept}
        prompts["captions"] = {text: known for text, known in prompts["captions"].items() if text in said}

    out = args.out.resolve()
    partial = out.with_name(out.name + ".partial")
    if partial.exists():  # of a killed run
        shutil.rmtree(partial)
    backbone = partial / "backbone"

    def halve(tensors, path: Path) -> None:
        rounded = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        if any(not torch.isfinite(v).all() for v in rounded.values() if v.is_floating_point()):
            raise ValueError(f"{path.name} does not fit into fp16")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, rounded)

    halve(weights, backbone / "model.safetensors")
    write_json(backbone / "config.json", read_json(base / "config.json") | {"dtype": "float16"})
    base_hash = weights_hash(backbone)
    for place in (backbone, partial):
        text_tokenizer.save(place)

    for number, meta in stages.items():
        source, folder = stage_folder(args.run, number), stage_folder(partial, number)
        halve(read_tensors(source / "adapter_model.safetensors"), folder / "adapter_model.safetensors")
        for path in source.glob("*.json"):
            shutil.copyfile(path, folder / path.name)
        write_json(folder / "meta.json", meta | {"base": "../backbone", "base_hash": base_hash})
        adapter = read_json(folder / "adapter_config.json")
        named = ((args.name or args.out) / "backbone").as_posix()
        write_json(folder / "adapter_config.json", adapter | {"base_model_name_or_path": named})

    vqvae.save(partial / "vqvae", torch.float16)
    write_json(partial / "prompts.json", prompts, indent=None)
    rounded = file_hash(partial / "vqvae" / "model.safetensors")
    vocab = MotionVocab(text_tokenizer, config.codes, config.participants)
    if len(weights["model.embed_tokens.weight"]) == vocab.first_id + len(vocab):  # the base was trained on motion
        write_json(backbone / "meta.json", {"motion_words": motion_words(vocab, rounded)})
    save_tokens(partial / "tokens.json.gz", entries, facts | {"vqvae": rounded})
    shipped = config.to_dict() | {"backbone": "backbone", "base_hash": base_hash}
    write_json(partial / "config.json", read_json(args.run / "config.json") | {"RunConfig": shipped})
    if out.exists():
        out.rmdir()  # an empty one
    partial.rename(out)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"wrote {args.out}/: {size / 1e6:.1f} MB")
    for path in sorted(args.out.rglob("*")):
        if path.is_file():
            print(f"  {path.relative_to(args.out)} {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main, make_parser())
