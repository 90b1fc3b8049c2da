"""Token data sets in the forms of other projects, read as records of ours; `tokens.py` checks them.

Instructions: a JSON list of {"instruction", "input", "output"}, written by `generate_dataset.py` of
qiqiApink's MotionGPT, and by us (`write_instructions`). The output is the codes as text,
"315,91,406". A clip has four rows. A row whose input holds <Motion Token> ... </Motion Token> is
another task than text to motion: some of the codes are given.

A folder of code arrays, written by T2M-GPT and OpenMotionLab's MotionGPT,
and by us (`write_code_folder`):

    VQVAE/ID.npy  (1, S) int          the codes of a clip; ours are codes/ID.npy (S,)
    texts/ID.txt                      captions as HumanML3D has them; a timed one is about a piece of the codes
    train.txt val.txt test.txt        one id a line; without them every clip is taken
    tokens.meta.json  participants.json    only if we wrote it: the tokenizer, and who moved
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from motiongpt.data.motions import SPLITS, check_id, read_ids
from motiongpt.data.texts import Caption, parse_captions
from motiongpt.data.token_shards import META, is_shards
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.files.arrays import load_array, read_array
from motiongpt.files.listing import is_free, visible
from motiongpt.files.store import naming, new_folder, read_json, write_json

CODE_FOLDERS = ("codes", "VQVAE")
MARKERS = ("<Motion Token>", "</Motion Token>")
INSTRUCTION = "Generate a sequence of motion tokens matching the following human motion description"
KEY_TOKENS = (3, 5)  # fewest and most codes that the task with key tokens gives
FPS = 20.0  # HumanML3D's
FRAMES_PER_CODE = 4  # of all published tokenizers

Records = Iterator[tuple[dict, str]]  # a record and where it stands


def is_instructions(content: object) -> bool:
    """Whether a JSON file's content is a list of instructions."""
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and "output" in content[0]


def instruction_records(content: list, path: Path, say: Callable[[str], None], split: str | None = None) -> Records:
    """The text-to-motion rows; `say` gets the number of the others.
    Raises ValueError for a row of another form."""
    others = 0
    for i, row in enumerate(content):
        where = f"{path}, entry {i}"
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("input", "output")):
            raise ValueError(f"{where}: expected an object with the texts instruction, input and output")
        if any(marker in row["input"] for marker in MARKERS):
            others += 1
            continue
        # the markers may stand around an output as well
        codes = row["output"].replace(MARKERS[0], " ").replace(MARKERS[1], " ")
        record = {"text_query": row["input"], "motion_tokens": codes, "id": row.get("motion", "")}
        if "participant_id" in row:
            record["participant_id"] = row["participant_id"]
        yield record | ({"split": split} if split else {}), where
    if others:
        say(f"{path}: {others} of {len(content)} rows skipped, they are other tasks than text to motion")


def folder_records(path: Path, say: Callable[[str], None]) -> Records:
    """The records of a folder of code arrays, or of train.json,
    val.json and test.json with instructions.

    Raises FileNotFoundError or ValueError naming the file;
    `say` gets one line that counts what is skipped.
    """
    # 1) instructions, one file per split
    if (path / "train.json").is_file():
        for split in SPLITS:
            if (file := path / f"{split}.json").is_file():
                content = read_json(file, object)
                if not is_instructions(content):
                    raise ValueError(f"{file}: expected a list of rows with instruction, input and output")
                yield from instruction_records(content, file, say, split)
        return
    # 2) arrays, with splits and captions beside them
    codes, root = _code_folder(path)
    splits = {split: read_ids(root / f"{split}.txt") for split in SPLITS if (root / f"{split}.txt").is_file()}
    if not splits:
        # every clip is taken without a split; `load_tokens` then chooses validation
        splits = {None: sorted(p.relative_to(codes).with_suffix("").as_posix() for p in _arrays(codes))}
    people = root / "participants.json"
    participant_of = read_json(people) if people.is_file() else {}
    rate = _codes_per_second(root)
    skipped = Counter()
    for split, ids in splits.items():
        for clip in ids:
            file, text = codes / f"{clip}.npy", root / "texts" / f"{clip}.txt"
            if not file.is_file() or not text.is_file():
                skipped["clips without codes" if text.is_file() else "clips without captions"] += 1
                continue
            row = _codes(file)
            # a record per caption; one with times has its piece of the codes
            for caption in parse_captions(text):
                piece = caption.cut(row, rate).tolist()
                if not piece or not caption.text:
                    skipped["captions of no code" if caption.text else "empty captions"] += 1
                    continue
                record = {"text_query": caption.text, "motion_tokens": piece, "id": clip}
                if clip in participant_of:
                    record["participant_id"] = participant_of[clip]
                yield record | ({"split": split} if split else {}), str(file)
    if skipped:
        say(f"{path}: skipped " + ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())))


def is_token_folder(path: Path) -> bool:
    """Whether a folder holds tokens: shards, or what `folder_records` reads.
    ValueError if it has two folders of codes."""
    try:
        return is_shards(path) or (path / "train.json").is_file() or bool(_code_folder(path))
    except FileNotFoundError:
        return False


def _code_folder(path: Path) -> tuple[Path, Path]:
    """The folder of arrays, and the folder above it with texts and splits; `path` may be either."""
    found = [path / name for name in CODE_FOLDERS if (path / name).is_dir()]
    if len(found) > 1:
        raise ValueError(f"{path} has both {' and '.join(CODE_FOLDERS)}; give one of them, e.g. {found[0]}")
    # given the folder of arrays itself, texts and splits are one above
    codes, root = (found[0], path) if found else (path, path.parent)
    if not (root / "texts").is_dir() or not _arrays(codes):
        raise FileNotFoundError(
            f"{path} is no folder of tokens: expected codes/ID.npy or VQVAE/ID.npy, texts/ID.txt and train.txt"
        )
    return codes, root


def _arrays(codes: Path) -> list[Path]:
    return visible(codes.rglob("*.npy"), codes)


def _codes_per_second(root: Path) -> float:
    """The rate of the tokenizer that wrote the codes, to cut timed captions.

    A download does not say it, so the width of its statistics tells KIT-ML from HumanML3D.
    """
    # token folders of ours say it in one file, data sets in the other
    info = next((read_json(root / name) for name in (META, "dataset.json") if (root / name).is_file()), {})
    skeleton = None
    if (root / "Mean.npy").is_file():
        skeleton = skeleton_of_width(len(load_array(root / "Mean.npy", 1)))
    fps = info.get("fps", skeleton.fps if skeleton else FPS)
    return float(fps) / int(info.get("frames_per_code", FRAMES_PER_CODE))


def _codes(path: Path) -> np.ndarray:
    """(S,) int64. Raises ValueError for anything but one row of whole numbers."""
    array = read_array(path)
    one_row = array.ndim == 1 or array.ndim == 2 and len(array) == 1
    if not one_row or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{path}: expected whole numbers of shape (S,) or (1, S), got {array.dtype} {array.shape}")
    return np.array(array, np.int64).reshape(-1)


def write_code_folder(folder: Path, records: list[dict], meta: dict) -> None:
    """Write codes/ID.npy (S,) int64, texts/ID.txt, splits, participants.json and tokens.meta.json,
    all or none.

    The codes of a timed caption are those of its own frames, not a piece of the clip's codes, so it
    becomes a clip of its own, ID_1, ID_2, ... Token data has no word tags, so that field of a
    caption is empty. Raises FileExistsError if `folder` has something in it already.
    """
    if not is_free(folder):
        raise FileExistsError(f"{folder} exists already; delete it or name another")
    # captions of the same codes, person and split are captions of one clip
    clips: dict[tuple, list[str]] = defaultdict(list)
    for i, record in enumerate(records):
        key = (record["id"] or str(i), record["motion_tokens"], record.get("participant_id"), record["split"])
        clips[key].append(" ".join(record["text_query"].split()))
    with new_folder(folder) as temporary:
        with naming(folder):
            _write_clips(temporary, clips)
        write_json(temporary / META, meta)


def write_instructions(folder: Path, records: list[dict], meta: dict, seed: int = 42) -> dict[str, int]:
    """Write train.json, val.json, and test.json if there is a test split,
    as Zhang et al.'s `generate_dataset.py` does.

    Each record becomes its four rows: text alone, with the first code, with the last, with three to
    five drawn by `seed`. Theirs takes one caption of a clip at random; here every caption has its
    rows. `participant_id` is one field more than theirs, and tokens.meta.json one file more.

    Returns the number of rows per split. Raises FileExistsError if `folder` has something in it
    already, ValueError for a caption that holds their marker of motion tokens. Edits are left out:
    that form has no place for them.
    """
    if not is_free(folder):
        raise FileExistsError(f"{folder} exists already; delete it or name another")
    rows: dict[str, list[dict]] = {"train": [], "val": []}
    rng = np.random.default_rng(seed)
    for record in records:
        if "source_tokens" in record:
            continue
        text = record["text_query"]
        if any(marker in text for marker in MARKERS):
            raise ValueError(f"caption {text!r:.80} holds {MARKERS[0]}, which would be read as a given motion token")
        codes = record["motion_tokens"].split()
        fewest, most = KEY_TOKENS
        drawn = rng.choice(len(codes), min(len(codes), int(rng.integers(fewest, most + 1))), replace=False)
        # the four forms of the task, and the codes that each shows
        given = {
            ".": "",
            " given the initial token.": codes[0],
            " given the last token.": codes[-1],
            " given several key tokens.": ",".join(codes[i] for i in sorted(drawn)),
        }
        common = {"output": ",".join(codes), "motion": record["id"], "length": len(codes)}
        if record.get("participant_id") is not None:
            common["participant_id"] = record["participant_id"]
        for end, tokens in given.items():
            hint = f"{MARKERS[0]}{tokens}{MARKERS[1]}" if tokens else ""
            row = {"instruction": INSTRUCTION + end, "input": text + hint}
            rows.setdefault(record["split"], []).append(row | common)
    with new_folder(folder) as temporary:
        for split, content in rows.items():
            write_json(temporary / f"{split}.json", content, indent=None)
        if meta:
            write_json(temporary / META, meta)
    return {split: len(content) for split, content in rows.items()}


def _write_clips(folder: Path, clips: dict[tuple, list[str]]) -> None:
    """Write codes, texts, splits and participants of (id, codes, participant, split)
    -> captions."""
    (folder / "codes").mkdir()
    ids: dict[str, list[str]] = defaultdict(list)
    people: dict[str, str] = {}
    known = {clip for clip, *_ in clips}
    taken: set[str] = set()
    for (clip, codes, participant, split), captions in clips.items():
        # the first clip of an id keeps it; a further one gets a number that is no other clip's id
        name = clip
        number = 0
        while name in taken or number and name in known:
            number += 1
            name = f"{clip}_{number}"
        taken.add(name)
        check_id(name)
        # an id may have folders in it
        for sub in ("codes", "texts"):
            (folder / sub / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / "codes" / f"{name}.npy", np.array(codes.split(), np.int64))
        lines = "".join(Caption(text).line() + "\n" for text in captions)
        (folder / "texts" / f"{name}.txt").write_text(lines, encoding="utf-8")
        ids[split].append(name)
        if participant is not None:
            people[name] = participant
    for split, names in ids.items():
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    if people:
        write_json(folder / "participants.json", people)
