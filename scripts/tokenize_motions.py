"""A dataset folder and a motion tokenizer -> the token dataset that finetune.py reads.

    python scripts/tokenize_motions.py --data data/demo --vqvae outputs/vqvae --out tokens.json

Writes one entry per caption (sub-clip captions get their own codes), and <out>.meta.json beside it. --format npy writes
a folder instead: codes/ID.npy (S,) int64, texts/ID.txt, train.txt, val.txt, test.txt.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli import Parser, run


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    parser.add_argument("--vqvae", type=Path, required=True, help="tokenizer folder, from scripts/train_vqvae.py")
    parser.add_argument("--out", type=Path, required=True, help="JSON file (or, with npy, folder) to write")
    parser.add_argument(
        "--format", choices=("json", "npy"), default="json", help="one JSON file, or a folder of arrays (default json)"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    return parser


def main(args) -> None:
    import collections

    from motiongpt.data.motions import SPLITS, MotionDataset
    from motiongpt.data.tokens import MAX_CAPTION, Entry, save_tokens
    from motiongpt.files import read_json
    from motiongpt.loops import pick_device
    from motiongpt.tokenizer import MotionTokenizer

    data = MotionDataset(args.data)
    tokenizer = MotionTokenizer.load(args.vqvae, pick_device(args.device))
    if tokenizer.skeleton != data.skeleton:
        raise ValueError(
            f"{args.vqvae} was trained on skeleton {tokenizer.skeleton.name}, {args.data} has {data.skeleton.name}"
        )
    people = args.data / "participants.json"
    participant_of = read_json(people) if people.is_file() else {}
    entries, dropped = [], collections.Counter()
    for split in SPLITS:
        if not (args.data / f"{split}.txt").is_file():
            continue
        clips, unusable = data.load_split(split)
        dropped["not finite or malformed"] += len(unusable)
        jobs = [(clip, caption) for clip in clips for caption in data.captions(clip)]
        # captions of one clip mostly share its frames: each piece is encoded once
        pieces = {(clip, c.start, c.end): c.cut(clips[clip], data.fps) for clip, c in jobs}
        codes_of = dict(zip(pieces, tokenizer.encode(list(pieces.values())), strict=True))
        for clip, caption in jobs:
            codes = codes_of[clip, caption.start, caption.end]
            if not 0 < len(caption.text) <= MAX_CAPTION:
                dropped[f"caption empty or of more than {MAX_CAPTION} characters"] += 1
                continue
            if not codes:
                dropped["shorter than one code"] += 1
                continue
            entries.append(Entry(caption.text, tuple(codes), participant_of.get(clip), clip, split))
    if not entries:
        raise ValueError(f"{args.data} has no captioned clip of at least {tokenizer.config.frames_per_code} frames")
    meta = {"vqvae": tokenizer.hash, "codes": tokenizer.config.codes, "fps": tokenizer.fps,
            "frames_per_code": tokenizer.config.frames_per_code, "skeleton": tokenizer.skeleton.name,
            "representation": f"humanml3d-{data.feature_dim}", "data": data.hash()}  # fmt: skip
    save_tokens(args.out, entries, meta, args.format)
    for reason, count in dropped.items():
        if count:
            print(f"dropped {count}: {reason}")
    used = len({code for entry in entries for code in entry.codes})
    print(f"wrote {args.out}: {len(entries)} entries, {used} of {tokenizer.config.codes} codes in use")
    print(f"next: python scripts/finetune.py --stage 1 --data {args.out} --vqvae {args.vqvae}")


if __name__ == "__main__":
    run(main, make_parser())
