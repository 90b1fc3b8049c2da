"""Damage to a run is seen: every key of its JSON files, every bit of its numbers.

A changed file is refused in one line that names it, or it gives the same motion as before. Nothing else is allowed: no
traceback, and no other motion without a word. A test that counts prints how many changes were refused.
"""

import copy
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from motiongpt import checkpoint
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.checkpoint import TENSORS, find_state, save_state
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.features.normalizer import Normalizer
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import known_hash
from motiongpt.files.store import read_json, read_tensors, write_json
from motiongpt.generator import MotionGenerator
from motiongpt.motion import Motion
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.run_folder import RunConfig, split_seed
from motiongpt.stages.ship import ship_run
from motiongpt.tasks.table import FROM_TEMPLATES
from motiongpt.tasks.templates import built_in
from motiongpt.training.state import check_saved

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long

DEEP = 100_000  # brackets in brackets
WIDE = 12  # of an object with more keys (a vocabulary, captions), the first ones stand for all


@pytest.fixture
def world(tiny, tmp_path) -> Path:
    """A copy of the tiny run and its backbone."""
    for name in ("backbone", "run"):
        shutil.copytree(tiny.folder / name, tmp_path / name)
    return tmp_path


def sample(folder: Path) -> np.ndarray:
    """What the run makes of a caption, and of a new sentence."""
    generator = MotionGenerator.load(folder / "run")
    motions = generator.generate(["someone waves", "a person sits and waves"], seed=7, max_new_tokens=12)
    return np.concatenate([motion.joints for motion in motions])


# 1) Every key of every JSON file.


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The path of every key; a list is looked into through its first item."""
    if isinstance(value, dict):
        for key in list(value)[:WIDE]:
            yield (*path, key)
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield (*path, 0)
        yield from places(value[0], (*path, 0))


def kind_of(value: object) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


OTHERS = (3, "x", [], {}, True, -1.5, [[]], {"x": None})


def changed(content: object, path: tuple) -> Iterator[object]:
    """Copies of a JSON value in which the value at `path` is gone, null, of another type, or nested deeply."""
    *before, last = path

    def copy_and_parent() -> tuple[object, object]:
        whole = copy.deepcopy(content)
        inner = whole
        for key in before:
            inner = inner[key]
        return whole, inner

    whole, inner = copy_and_parent()
    old = inner[last]
    del inner[last]
    yield whole
    for value in (None, *(value for value in OTHERS if kind_of(value) != kind_of(old))):
        whole, inner = copy_and_parent()
        inner[last] = value
        yield whole


class Counts(Counter):
    """How many changes were refused, had no effect, ended in a traceback, or gave another result in silence."""

    def __str__(self) -> str:
        names = ("refused", "without effect", "traceback", "silent")
        return f"{self.total()} changes: " + ", ".join(f"{self[name]} {name}" for name in names)


def try_all(path: Path, copies: Iterator[bytes], read: Callable[[], object], same: Callable[[object], bool]) -> Counts:
    """Write each copy to `path` and read it. The counts are printed; every bad outcome fails, with its place."""
    sound = path.read_bytes()
    counts = Counts()
    problems = []
    for number, data in enumerate(copies):
        path.write_bytes(data)
        try:
            result = read()
        except (ValueError, OSError) as error:
            message = str(error)
            # the file, or its folder if two files in it disagree
            named = path.name in message or re.search(rf"/{path.parent.name}(/|:)", message)
            if "\n" in message or not named or len(message) > 1500:
                problems.append(f"change {number}: not one line that names the file: {message[:300]}")
            counts["refused"] += 1
        except BaseException as error:  # `tokenizers` panics with no Exception
            counts["traceback"] += 1
            problems.append(f"change {number}: {type(error).__name__}: {error}")
        else:
            counts["without effect" if same(result) else "silent"] += 1
            if not same(result):
                problems.append(f"change {number}: another result, in silence")
    path.write_bytes(sound)
    print(f"{path.name}: {counts}")
    assert not problems, f"{path}: {counts}\n" + "\n".join(problems[:20])
    assert counts["refused"] and not counts["silent"] and not counts["traceback"], str(counts)
    return counts


def json_copies(path: Path, most: int) -> Iterator[bytes]:
    """At most `most` changed copies of a JSON file, spread over all keys, and some that are nested deeply."""
    content = json.loads(path.read_bytes())
    every = [value for place in places(content) for value in changed(content, place)]
    step = max(1, -(-len(every) // most))
    yield from (json.dumps(value).encode() for value in every[::step])
    for deep in ("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP):
        yield deep.encode()
        first = next(iter(content))
        yield json.dumps(content | {first: "HERE"}).replace('"HERE"', deep).encode()


RUN_FILES = (
    "run/config.json",
    "run/prompts.json",
    "run/tokenizer.json",
    "run/vqvae/config.json",
    "run/stage1/meta.json",
    "run/stage1/adapter_config.json",
    "backbone/config.json",
)


def check_json(path: Path, read: Callable[[], object], same: Callable[[object], bool], most: int) -> None:
    assert same(read())
    try_all(path, json_copies(path, most), read, same)
    assert same(read())


def is_equal(expected: np.ndarray) -> Callable[[np.ndarray], bool]:
    return lambda found: found.shape == expected.shape and np.array_equal(found, expected)


@pytest.mark.parametrize("name", RUN_FILES)
def test_every_key_of_a_run(world, name):
    check_json(world / name, lambda: sample(world), is_equal(sample(world)), most=30)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN_FILES)
def test_every_key_of_a_run_in_every_way(world, name):
    check_json(world / name, lambda: sample(world), is_equal(sample(world)), most=10_000)


@pytest.mark.parametrize("hashed", [True, False])
def test_the_templates_of_a_stage(world, hashed):
    """A changed file is refused by its hash. Without one, whatever can be read is read."""
    folder = world / "run/stage1"
    path, meta = folder / "templates.json", read_json(folder / "meta.json")
    write_json(path, built_in("plain").to_json())
    hashes = meta["hashes"] | ({path.name: known_hash(path)} if hashed else {})
    write_json(folder / "meta.json", meta | {"hashes": hashes})
    if not hashed:
        try_all(path, json_copies(path, 20), lambda: sample(world), lambda found: True)
        return
    check_json(path, lambda: sample(world), is_equal(sample(world)), most=20)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="templates.json is missing"):
        sample(world)


def test_every_key_of_a_run_of_an_older_version(world):
    """Without hashes a missing key may have a default, but nothing ends in a traceback."""
    for name in ("run/config.json", "run/vqvae/config.json", "run/stage1/meta.json"):
        content = read_json(world / name)
        del content["hashes"]
        write_json(world / name, content)
    for name in ("run/config.json", "run/prompts.json", "run/tokenizer.json", "run/vqvae/config.json"):
        try_all(world / name, json_copies(world / name, 20), lambda: sample(world), lambda found: True)


@pytest.fixture
def dataset(tmp_path) -> Path:
    """A data set of two clips, opened but never loaded: what its JSON and statistics say is all that matters."""
    folder = tmp_path / "data"
    (folder / "new_joint_vecs").mkdir(parents=True)
    Normalizer(np.zeros(263), np.full(263, 0.1)).save(folder)
    (folder / "train.txt").write_text("a\n")
    facts = {
        "name": "d",
        "skeleton": "humanml3d-22",
        "representation": "humanml3d-263",
        "fps": 20.0,
        "counts": {"a": 1},
    }
    write_json(folder / "dataset.json", facts)
    return folder


def test_every_key_of_a_dataset(dataset):
    def read():
        data = MotionDataset(dataset)
        return data.fps, data.skeleton.name, data.representation.name

    expected = read()
    check_json(dataset / "dataset.json", read, lambda found: found == expected, most=10_000)


def test_every_key_of_a_state(tmp_path):
    """state.json of a training: a changed `last` gives way to `previous`, which is said, and which is what counts."""
    for step in (10, 20):
        state = {"step": step, "best": 0.5, "worse": 0, "skipped": 1, "bad_in_a_row": 0, "sums": {"loss": [0.5, 0.25]}}
        others = {"unvalidated": False, "total_steps": 30, "scaler": {}, "fingerprint": {"lr": 0.1}}
        save_state(tmp_path, {"x": torch.full((8,), float(step))}, state | others)
    path = tmp_path / "last" / "state.json"
    sound = shutil.copytree(tmp_path, tmp_path.with_name("sound"))

    def read() -> tuple:
        said = []
        place, values = find_state(tmp_path, said.append, check_saved)
        tensors = read_tensors(place / TENSORS)
        assert tensors["x"][0] == values["step"], "tensors of another step"
        if said:
            assert values["step"] == 10 and len(said) == 1 and str(path) in said[0], said
            shutil.rmtree(tmp_path)
            shutil.copytree(sound, tmp_path)
            raise ValueError(said[0])
        return values

    expected = read()
    counts = try_all(path, json_copies(path, 10_000), read, lambda found: found == expected)
    assert counts["refused"] > 100
    for step in (10**9, 31):  # would count as finished
        values = read_json(path)
        path.write_text(json.dumps({key: value for key, value in values.items() if key != "hashes"} | {"step": step}))
        with pytest.raises(ValueError, match=f"state.json: step {step} is beyond its own total_steps 30"):
            read()


def test_every_key_of_a_token_meta(tiny, tmp_path):
    """tokens.meta.json, through the plan of a training."""
    from motiongpt.data.tokens import codebook_size, load_tokens, read_tokens_meta

    for name in ("tokens.json", "tokens.meta.json"):
        shutil.copyfile(tiny.folder / name, tmp_path / name)
    data = tmp_path / "tokens.json"
    entries = load_tokens(data)

    def read() -> int:
        read_tokens_meta(data)
        return codebook_size(entries, data, None)[0]

    check_json(tmp_path / "tokens.meta.json", read, lambda found: found == 32, most=10_000)
    meta = read_json(tmp_path / "tokens.meta.json")
    for key, value in (("fps", "20"), ("frames_per_code", None), ("frames_per_code", [4])):
        write_json(tmp_path / "tokens.meta.json", meta | {key: value})
        with pytest.raises(ValueError, match=f"tokens.meta.json: {key} must be "):
            tiny.finetune(tmp_path / "out", data=data)


# 2) Every bit of its numbers.


def bit_flips(data: bytes, count: int) -> Iterator[bytes]:
    """Copies with one bit flipped, spread over the file; then copies that are cut off."""
    rng = np.random.default_rng(0)
    for place in np.linspace(0, len(data) - 1, count).astype(int):
        copy_of = bytearray(data)
        copy_of[place] ^= 1 << int(rng.integers(8))
        yield bytes(copy_of)
    for length in (0, 7, len(data) // 2, len(data) - 1):
        yield data[:length]


NUMBERS = (
    "run/stage1/adapter_model.safetensors",
    "run/vqvae/model.safetensors",
    "run/vqvae/Mean.npy",
    "run/vqvae/Std.npy",
    "backbone/model.safetensors",
)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_bit_of_weights_and_statistics(world, name):
    path = world / name
    copies = list(bit_flips(path.read_bytes(), 40))
    counts = try_all(path, iter(copies), lambda: MotionGenerator.load(world / "run"), lambda _: False)
    assert counts["refused"] == len(copies)
    assert len(sample(world))


def test_a_full_stage_as_a_start(tiny, tmp_path):
    """The weights of a stage trained in full, which a later stage starts from."""
    from motiongpt.stages.model import load_weights
    from motiongpt.text_tokenizer import load_text_tokenizer
    from motiongpt.vocab import MotionVocab

    folder = tiny.finetune(tmp_path / "full", train_mode="full", vqvae=tiny.vqvae)
    vocab = MotionVocab(load_text_tokenizer(tiny.backbone), 32, ("P0", "P1", "P2"))
    path = folder / "model.safetensors"
    copies = list(bit_flips(path.read_bytes(), 10))
    try_all(path, iter(copies), lambda: load_weights(folder, vocab), lambda _: False)
    load_weights(folder, vocab)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_every_bit_of_a_state(tmp_path, name):
    """The former state is used, and said; if both are damaged, nothing is."""
    for step in (1, 2):
        save_state(tmp_path / "state", {"x": torch.full((50,), float(step))}, {"step": step})
    last = tmp_path / "state" / "last"
    copies = list(bit_flips((last / name).read_bytes(), 60))
    shutil.copytree(last, tmp_path / "sound")
    for data in copies:
        (last / name).write_bytes(data)
        said = []
        place, values = find_state(tmp_path / "state", said.append)
        tensors = read_tensors(place / TENSORS)
        if values["step"] == 2:  # a bit of the word "hashes", or of white space
            assert not said and tensors["x"].eq(2).all()
            continue
        assert values == {"step": 1} and tensors["x"].eq(1).all()
        assert len(said) == 1 and str(last / name) in said[0] and "the save before it, step 1" in said[0]
        assert (tmp_path / "state" / "damaged").is_dir()
        shutil.copytree(tmp_path / "sound", last)
    for place in ("last", "previous"):
        (tmp_path / "state" / place / name).write_bytes(copies[-2])
    with pytest.raises(ValueError, match="no readable checkpoint under .*--fresh starts over"):
        find_state(tmp_path / "state", pytest.fail)


def test_a_state_without_hashes_still_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "file_hashes", lambda *_: {})
    monkeypatch.setattr(checkpoint, "values_hash", lambda _: "")
    save_state(tmp_path, {"x": torch.ones(3)}, {"step": 1})
    state = read_json(tmp_path / "last" / "state.json")
    write_json(tmp_path / "last" / "state.json", {"step": state["step"]})
    assert find_state(tmp_path, pytest.fail)[1] == {"step": 1}


def test_statistics_that_no_data_has_are_named(tmp_path):
    """Without hashes, as in other people's files: what is not a number, negative, or larger than any motion."""
    ones = np.ones(263, np.float32)
    for name, value in (
        ("Mean", np.nan),
        ("Mean", np.inf),
        ("Mean", 1e38),
        ("Std", np.nan),
        ("Std", -1.0),
        ("Std", 1e30),
    ):
        Normalizer(ones, ones).save(tmp_path)
        array = ones.copy()
        array[7] = value
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(
            ValueError, match=rf"{name}.npy.*column 7 of the {name.lower()} is {re.escape(f'{value:g}')}; expected"
        ) as error:
            Normalizer.load(tmp_path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["npy", "npz", "gif", "png", "json", ""])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, -1001.0])
def test_no_motion_beyond_a_kilometre_is_written(tmp_path, suffix, value):
    joints = np.zeros((5, 22, 3), np.float32)
    joints[3, 4, 1] = value
    motion = Motion(joints, 20.0, (1, 2), "a", HUMANML3D)
    path = tmp_path / (f"m.{suffix}" if suffix else "folder")
    with pytest.raises(ValueError, match=re.escape(f"{path.name} is not written: frame 3 has a joint at {value:g}")):
        motion.save(path)
    assert not list(tmp_path.iterdir())
    joints[3, 4, 1] = 999.0
    assert all(file.is_file() for file in Motion(joints, 20.0, (1, 2), "a", HUMANML3D).save(path))


def test_parameters_that_are_no_numbers_are_not_written(tmp_path):
    parameters = np.zeros((4, 182), np.float32)
    parameters[2, 0] = np.nan
    with pytest.raises(ValueError, match="m.npz is not written: frame 2 has a parameter at nan"):
        Motion(None, 20.0, parameters=parameters).save(tmp_path / "m.npz")


def test_a_message_says_what_to_do(world):
    """The remedy works: a file that was replaced on purpose is accepted once its line is gone."""
    path = world / "run/vqvae/Std.npy"
    np.save(path, 2 * np.load(path))
    source = world / "run/vqvae/config.json"
    with pytest.raises(ValueError, match="Std.npy is damaged or replaced: config.json knows it as .* remove its line"):
        MotionTokenizer.load(world / "run")
    content = read_json(source)
    del content["hashes"]["Std.npy"]
    write_json(source, content)
    assert MotionTokenizer.load(world / "run").normalizer.std[0] == pytest.approx(0.2)


def test_a_moved_backbone_may_be_named_anew(world):
    """`backbone` of config.json and `base` of meta.json are places, which people change by hand."""
    expected = sample(world)
    (world / "backbone").rename(world / "elsewhere")
    for name, keys, place in (("config.json", ("RunConfig", "backbone"), "../elsewhere"),
                              ("stage1/meta.json", ("base",), "../../elsewhere")):  # fmt: skip
        content = read_json(world / "run" / name)
        inner = content[keys[0]] if len(keys) == 2 else content
        inner[keys[-1]] = place
        write_json(world / "run" / name, content)
    assert np.array_equal(sample(world), expected)


def test_an_evaluator_with_a_flipped_bit(tmp_path):
    from motiongpt.config import EvaluatorConfig
    from motiongpt.evaluation.networks import MatchingNetwork
    from motiongpt.evaluation.word_vectors import Vocabulary
    from motiongpt.features.representations import get_representation

    config = EvaluatorConfig(
        movement_width=8, movement_dim=8, motion_width=8, text_width=8, embedding_dim=8, word_dim=8
    )
    words = ["unk", "a", "walk"]
    vocabulary = Vocabulary(words)
    network = MatchingNetwork(config, len(words)).eval()
    normalizer = Normalizer(np.zeros(263), np.ones(263))
    representation = get_representation("humanml3d", HUMANML3D)
    Evaluator(network, vocabulary, normalizer, HUMANML3D, 20.0, representation).save(tmp_path)
    for name in ("model.safetensors", "Mean.npy", "Std.npy", "words.json"):
        copies = bit_flips((tmp_path / name).read_bytes(), 10)
        # the last copy of the JSON lacks its line end, which says nothing
        counts = try_all(
            tmp_path / name, copies, lambda: Evaluator.load(tmp_path), lambda x: x.vocabulary.words == words
        )
        assert counts["refused"] == (13 if name == "words.json" else 14)
    Evaluator.load(tmp_path)


def test_what_is_shipped_has_hashes_of_its_own(tiny, world):
    """Of the rounded files. Damage is not rounded away: a damaged run is not shipped."""
    ship_run(world / "run", tiny.data, world / "demo")
    for source, name in (
        ("config.json", "tokenizer.json"),
        ("vqvae/config.json", "Std.npy"),
        ("stage1/meta.json", "adapter_model.safetensors"),
    ):
        path = world / "demo" / source
        assert read_json(path)["hashes"][name] == known_hash(path.parent / name)
    shutil.rmtree(world / "run")
    shutil.copytree(world / "demo", world / "run")
    assert len(sample(world))
    for name in ("stage1/adapter_model.safetensors", "backbone/model.safetensors", "vqvae/Mean.npy"):
        path = world / "demo" / name
        sound = path.read_bytes()
        path.write_bytes(sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])
        with pytest.raises(ValueError, match=path.name):
            ship_run(world / "demo", tiny.data, world / "again")
        assert not (world / "again").exists()
        path.write_bytes(sound)


def words_of(stage: Path) -> set[str]:
    """templates.json, which a stage must have if it learnt a task that is asked for in sentences."""
    return {"templates.json"} if set(read_json(stage / "meta.json")["tasks"]) & set(FROM_TEMPLATES) else set()


def test_the_shipped_checkpoint_remembers_its_files():
    """Every file of weights, statistics or words of checkpoints/demo has a hash, and they are right."""
    demo = Path(__file__).resolve().parents[1] / "checkpoints" / "demo"
    adapter = {"adapter_model.safetensors", "adapter_config.json"}
    for source, names in (
        ("config.json", {"tokenizer.json", "prompts.json", "RunConfig"}),
        ("backbone/meta.json", {"model.safetensors", "config.json"}),
        ("vqvae/config.json", {"model.safetensors", "Mean.npy", "Std.npy", "VQVAEConfig"}),
        *((f"stage{number}/meta.json", adapter | words_of(demo / f"stage{number}")) for number in (1, 2, 3)),
    ):
        assert set(read_json(demo / source)["hashes"]) == names
    for stage in (1, 2, 3):
        assert MotionGenerator.load(demo, stage=stage).run.stage == stage


def test_a_rewrite_that_changes_no_value_is_no_damage(world):
    """Line ends of another system, indentation, 20 for 20.0, and the place of the base, which people edit."""
    before = sample(world)
    for path in (world / "run").rglob("*.json"):
        text = json.dumps(read_json(path, object), indent=3, sort_keys=True)
        path.write_bytes(re.sub(r"(?<=: )(\d+)\.0\b", r"\1", text).replace("\n", "\r\n").encode())
    adapter = world / "run" / "stage1" / "adapter_config.json"
    write_json(adapter, read_json(adapter) | {"base_model_name_or_path": "elsewhere/backbone"})
    assert np.array_equal(sample(world), before)
    write_json(adapter, read_json(adapter) | {"lora_alpha": 320})
    with pytest.raises(ValueError, match="adapter_config.json is damaged or replaced"):
        sample(world)


# 3) The helpers.


def test_a_field_names_file_and_key():
    values = {"a": 1, "b": None, "c": True, "d": 10**400, "e": float("nan")}
    assert get_field(values, "a", int, "f.json") == get_field(values, "a", float, "f.json") == 1
    assert get_field(values, "b", int, "f.json", None) is None and get_field(values, "z", int, "f.json", 5) == 5
    for key, kind, message in (
        ("z", int, "f.json: the key z is missing; expected a whole number"),
        ("b", str, "f.json: b must be a text, got 'None'"),
        ("c", int, "f.json: c must be a whole number, got 'True'"),
        ("d", float, "f.json: d must be a finite number, got"),
        ("e", float, "f.json: e must be a finite number, got 'nan'"),
    ):
        with pytest.raises(ValueError, match=message):
            get_field(values, key, kind, "f.json")
    with pytest.raises(ValueError, match="^a must be a whole number of at least 2, got '1'$"):
        get_field(values, "a", int, "", least=2)


def test_a_seed_of_a_run_that_is_none(tmp_path):
    RunConfig("signmotiongpt", "b", 4).write(tmp_path)
    assert split_seed(tmp_path) == 42
    write_json(tmp_path / "config.json", read_json(tmp_path / "config.json") | {"TrainConfig": {"seed": "x"}})
    with pytest.raises(ValueError, match="config.json: TrainConfig: seed must be a whole number, got 'x'"):
        split_seed(tmp_path)
