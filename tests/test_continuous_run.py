"""A continuous model from data set to motions: the run folder, its frozen text encoders, resume, and the scripts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_evaluation_training
import torch
from cases import for_each

from motiongpt.config import ContinuousConfig, FlowConfig, TrainConfig
from motiongpt.continuous import text, training
from motiongpt.continuous.generator import ContinuousGenerator
from motiongpt.continuous.run_folder import ContinuousRun
from motiongpt.continuous.text import StateReader, state_reader
from motiongpt.data.motions import MotionDataset
from motiongpt.files.store import read_json, read_tensors, write_json

CPU = torch.device("cpu")
TINY = ContinuousConfig(hidden_size=16, num_layers=1, num_heads=2, text_layers=1, max_frames=24)
CONFIG = TrainConfig(lr=3e-3, max_steps=6, batch_size=16, eval_every=3, save_every=3, log_every=1, precision="fp32")
FLAGS = ("--hidden-size", 16, "--num-layers", 1, "--num-heads", 2, "--max-frames", 24, "--batch-size", 16,
         "--max-steps", 2, "--eval-every", 1, "--device", "cpu")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """84 clips of 28 joints, 84 columns, with statistics that are not 0 and 1."""
    folder = test_evaluation_training.make_data(tmp_path_factory.mktemp("data"))
    rng = np.random.default_rng(5)
    np.save(folder / "Mean.npy", rng.normal(size=84).astype(np.float32))
    np.save(folder / "Std.npy", rng.uniform(0.5, 2.0, 84).astype(np.float32))
    return folder


def learn(data: Path, out: Path, config: TrainConfig = CONFIG, text_model: str = "", fresh: bool = False, **changes):
    """Train into `out`; `changes` are fields of ContinuousConfig."""
    model_config = replace(TINY, **changes)
    here = {"text_model": text_model, "device": CPU, "fresh": fresh, "say": lambda line: None}
    return training.train_continuous(MotionDataset(data), model_config, config, out, **here)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A flow model that has been trained for a moment."""
    out = tmp_path_factory.mktemp("run") / "flow"
    learn(data, out)
    return out


def state_of(folder: Path) -> dict:
    return read_tensors(folder / "state" / "last" / "tensors.safetensors")


# 1) The folder.


def test_a_run_loads_as_it_was_saved(run, data):
    loaded = ContinuousRun.load(run)
    assert loaded.config.feature_dim == 84 and loaded.config.words == len(loaded.reader.words) > 10
    assert loaded.facts["data"] == MotionDataset(data).hash() and loaded.fps == 20.0
    again = ContinuousRun.load(run)
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.state_dict().values(), again.model.state_dict().values(),
                                                 strict=True))  # fmt: skip
    one = ContinuousGenerator(loaded).features(["a person walks"], [3])[0]
    other = ContinuousGenerator.load(run).features(["a person walks"], [3])[0]
    assert torch.equal(one, other) and one.shape[1] == 84


@for_each(
    "name, change, message",
    [
        ("Mean.npy", lambda path: np.save(path, np.ones(84, np.float32)), "damaged or replaced"),
        ("words.json", lambda path: write_json(path, ["<unknown>", "<end>", "a"]), "damaged or replaced"),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-9]), "model.safetensors"),
        ("model.safetensors", Path.unlink, "no continuous model yet"),
        ("words.json", Path.unlink, "words.json is missing: copy the whole run folder again"),
        ("Std.npy", Path.unlink, "Std.npy is missing: copy the whole run folder again"),
        ("config.json", lambda path: path.write_text(path.read_text().replace('"num_layers": 1', '"num_layers": 2')),
         "not what was written there"),
    ],
)  # fmt: skip
def test_damage_is_named(run, tmp_path, name, change, message):
    for path in run.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    change(tmp_path / name)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ContinuousRun.load(tmp_path)


def test_features_are_normalised_and_come_back(data):
    normalizer = MotionDataset(data).normalizer.with_feature_bias(3.0, MotionDataset(data).representation)
    clip = MotionDataset(data).features("val0_0")
    back = normalizer.denormalise(normalizer.normalise(clip))
    assert np.allclose(back, clip, atol=1e-5)  # float32, values of order 1 divided and multiplied by the same number


# 2) Training.


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("head", ["regression", "autoregressive", "flow"])
def test_a_resumed_training_is_the_uninterrupted_one(head, data, tmp_path, monkeypatch):
    learn(data, tmp_path / "whole", head=head)
    real, seen = training.batch_loss, 0

    def killed(model, batch):
        nonlocal seen
        seen += model.training
        if seen > 4:
            raise Killed
        return real(model, batch)

    monkeypatch.setattr(training, "batch_loss", killed)
    with pytest.raises(Killed):
        learn(data, tmp_path / "parts", head=head)
    monkeypatch.setattr(training, "batch_loss", real)
    assert read_json(tmp_path / "parts" / "state" / "last" / "state.json")["step"] == 3
    learn(data, tmp_path / "parts", head=head)
    whole, parts = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_other_settings_are_not_resumed(run, data):
    with pytest.raises(ValueError, match="num.layers"):
        learn(data, run, num_layers=2)


def test_a_fresh_start_that_fails_leaves_the_former_model(data, tmp_path):
    learn(data, tmp_path / "run", replace(CONFIG, max_steps=1))
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(FileNotFoundError, match="no backbone folder at .*nothing"):
        learn(data, tmp_path / "run", text_model=str(tmp_path / "nothing"), fresh=True, text_encoder="clip")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights
    result = learn(data, tmp_path / "run", replace(CONFIG, max_steps=2), fresh=True)
    assert result.finished and result.total_steps == 2


def test_a_dry_run_writes_nothing(data, tmp_path, script):
    done = script("train_continuous", "--data", data, "--out", tmp_path / "x", "--dry-run", *FLAGS)
    assert done.code == 0 and "one batch: motion (16, " in done.out and "nothing was written" in done.out
    assert not (tmp_path / "x").exists()


def test_a_data_set_without_validation_is_trained_to_its_end(data, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    for name in ("Mean.npy", "Std.npy", "dataset.json", "train.txt"):
        (small / name).write_bytes((data / name).read_bytes())
    for name in ("new_joint_vecs", "texts"):
        (small / name).symlink_to(data / name)
    result = learn(small, tmp_path / "run")
    assert result.finished and ContinuousRun.load(tmp_path / "run").config.head == "flow"


@pytest.mark.slow
def test_the_length_head_learns_lengths(data, tmp_path):
    """Sixteen sentences, each with its own length: the error falls from about a half to a few percent."""
    lengths = {f"{split}{kind}_{i}": 6 + kind for split, each in (("train", 4), ("val", 2)) for kind in range(16)
               for i in range(each)}  # fmt: skip
    (tmp_path / "data" / "new_joint_vecs").mkdir(parents=True)
    for name in ("Mean.npy", "Std.npy", "dataset.json", "train.txt", "val.txt"):
        (tmp_path / "data" / name).write_bytes((data / name).read_bytes())
    (tmp_path / "data" / "texts").symlink_to(data / "texts")
    for name, frames in lengths.items():
        clip = np.tile(np.load(data / "new_joint_vecs" / f"{name}.npy"), (4, 1))
        np.save(tmp_path / "data" / "new_joint_vecs" / f"{name}.npy", clip[:frames])
    config = replace(CONFIG, max_steps=150, eval_every=150, save_every=150)
    result = learn(tmp_path / "data", tmp_path / "run", config, head="regression")
    assert result.metrics["val_length_error"] < 0.1
    texts = ["a person walks", "a person spins"]  # kinds 0 and 15: 6 and 21 frames
    short, long = ContinuousGenerator.load(tmp_path / "run").lengths(texts)
    assert abs(short - 6) <= 1 and abs(long - 21) <= 3


# 3) Frozen text encoders.


def test_a_caption_is_read_once(tmp_path):
    asked = []

    def encode(captions):
        asked.append(list(captions))
        return [torch.full((len(caption), 2), float(len(caption))) for caption in captions]

    cache = tmp_path / "states.safetensors"
    reader = StateReader("encoder", lambda: encode, cache)
    reader.prepare(["ab", "abcd", "ab"])
    states, mask = reader(["abcd", "ab"])
    assert states.shape == (2, 4, 2) and states[1].tolist() == [[2, 2], [2, 2], [0, 0], [0, 0]]
    assert mask.tolist() == [[True] * 4, [True, True, False, False]] and sum(map(len, asked)) == 2

    def never():
        raise AssertionError("the encoder was loaded")

    again = StateReader("encoder", never, cache)
    assert torch.equal(again(["abcd", "ab"])[0], states) and again.computed == 0
    with pytest.raises(AssertionError, match="was loaded"):
        again(["new"])
    with pytest.raises(AssertionError, match="was loaded"):  # the same caption, read by another encoder
        StateReader("another", never, cache)(["ab"])


def test_what_was_read_before_an_interruption_is_kept(tmp_path):
    captions = [f"caption {i:03}" for i in range(text.ENCODE_BATCH + 1)]
    cache = tmp_path / "states.safetensors"

    def stopped(batch):
        if len(batch) < text.ENCODE_BATCH:  # the second batch
            raise KeyboardInterrupt
        return [torch.zeros(2, 2) for _ in batch]

    with pytest.raises(KeyboardInterrupt):
        StateReader("encoder", lambda: stopped, cache).prepare(captions)
    again = StateReader("encoder", lambda: lambda batch: [torch.zeros(2, 2) for _ in batch], cache)
    again.prepare(captions)
    assert again.computed == 1
    with pytest.raises(KeyboardInterrupt):  # nothing read: nothing written
        StateReader("encoder", lambda: stopped, tmp_path / "none").prepare(captions[:1])
    assert not (tmp_path / "none").exists()
    cache.write_bytes(cache.read_bytes()[:-9])
    with pytest.raises(ValueError, match="states.safetensors is damaged.*remove it: its captions are then read again"):
        StateReader("encoder", lambda: stopped, cache)


def test_a_decoder_reads_a_caption_alone_or_in_company(tiny):
    encode = text.language_model_encoder(tiny.backbone)
    captions = ["a person walks forward", "someone waves", "x"]
    for alone, together in zip((encode([c])[0] for c in captions), encode(captions), strict=True):
        assert torch.allclose(alone, together, atol=1e-5)


@pytest.mark.slow
def test_a_run_with_a_frozen_decoder(data, tiny, tmp_path, monkeypatch):
    learn(data, tmp_path / "run", text_encoder="smollm2", text_model=str(tiny.backbone))
    content = read_json(tmp_path / "run" / "config.json")
    assert content["ContinuousConfig"]["text_dim"] == 32 and not Path(content["text_model"]["name"]).is_absolute()
    generator = ContinuousGenerator.load(tmp_path / "run")
    made = generator.features(["a person never seen before"], [0])[0]
    assert torch.isfinite(made).all() and generator.run.reader.computed == 1
    # all captions are in the cache: nothing is loaded to resume or to write a known one
    monkeypatch.setattr(text, "load_llm", lambda *_, **__: pytest.fail("the encoder was loaded"))
    learn(data, tmp_path / "run", text_encoder="smollm2", text_model=str(tiny.backbone))
    assert len(ContinuousGenerator.load(tmp_path / "run").features(["a person walks"], [0])) == 1
    # other weights in its place are refused, and named
    monkeypatch.undo()
    monkeypatch.setattr(text, "weights_hash", lambda folder: "0" * 16)
    with pytest.raises(ValueError, match="is not the text encoder of this run"):
        ContinuousGenerator.load(tmp_path / "run").features(["another new caption"], [0])


@pytest.mark.slow
def test_a_run_with_clip(data, tmp_path):
    test_clip = pytest.importorskip("test_clip")
    vocabulary = test_clip.write_vocabulary(tmp_path / "vocabulary", test_clip.learnt_merges())
    clip = tmp_path / "clip"
    tokenizer = test_clip.transformers.CLIPTokenizer.from_pretrained(vocabulary)
    tokenizer.save_pretrained(clip)
    sizes = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "max_position_embeddings": 77}
    test_clip.reference(**sizes).save_pretrained(clip)
    learn(data, tmp_path / "run", text_encoder="clip", text_model=str(clip), condition="add")
    generator = ContinuousGenerator.load(tmp_path / "run")
    assert generator.run.config.text_dim == 32
    states, mask = state_reader("clip", lambda: clip, None)(["a person walks", "x"])
    hidden = test_clip.ClipText.load(clip).encode(["a person walks", "x"])[0]
    assert mask.sum(1).tolist() != [77, 77]  # without padding
    for i, row in enumerate(mask):
        assert torch.allclose(states[i][row], hidden[i][: row.sum()], atol=5e-3)  # kept as float16
    assert len(generator.features(["a person walks"], [0])) == 1


# 4) Writing.


def test_length_and_seed_decide_a_motion(run):
    generator = ContinuousGenerator.load(run)
    texts = ["a person walks", "a person runs", "someone jumps"]
    together = generator.features(texts, [1, 2, 3], [8, None, 20])
    assert len(together[0]) == 8 and len(together[2]) == 20
    alone = generator.features(texts[2:], [3], [20])[0]
    assert torch.allclose(together[2], alone, atol=1e-4)  # summed in another order
    assert not torch.allclose(generator.features(texts[2:], [4], [20])[0], alone, atol=1e-2)
    for bad in (0, 25):
        with pytest.raises(ValueError, match="1 to 24 frames"):
            generator.features(texts[:1], [0], [bad])
    with pytest.raises(ValueError, match="text is empty"):
        generator.features([" "], [0])
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"--seconds must be positive, got {bad:g}"):
            generator.generate(texts[:1], seconds=[bad])
    with torch.no_grad():
        generator.run.model.frame_out.bias[0] = float("nan")
    with pytest.raises(ValueError, match="'a person walks' is not finite: lower the guidance"):
        generator.features(texts[:1], [0], [8])


def test_sample_knows_the_run_by_its_files(run, tmp_path, script):
    done = script("sample", "--run", run, "--prompt", "a person walks", "--seconds", 1, "--output", tmp_path / "o",
                  "--device", "cpu", "--flow-steps", 2)  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["motion.gif", "motion.npy"]
    assert np.load(tmp_path / "o" / "motion.npy").shape == (20, 28, 3) and "20 frames, 1.0 s" in done.out
    dry = script("sample", "--run", run, "--prompt", "x", "--dry-run", "--device", "cpu", "--output", tmp_path / "p")
    assert dry.code == 0 and "own length" in dry.out and not (tmp_path / "p").exists()
    assert f"would write {tmp_path / 'p'}; nothing was written" in dry.out and "token" not in dry.out
    info = script("sample", "--run", run, "--info", "--device", "cpu")
    assert info.code == 0 and "positions-84 at 20 fps" in info.out


@for_each(
    "flags, message",
    [
        ("--run RUN --temperature 0.5", "--temperature has no meaning for a continuous model"),
        ("--run RUN --pid P1 --best-of 2", "--best-of, --pid have no meaning|--pid, --best-of have no meaning"),
        ("--run RUN --task predict --codes 1,2", "only text to motion"),
        ("--run RUN --model tokens", "is a continuous model"),
        ("--run TOKENS --model continuous", "is a token model"),
        ("--run TOKENS --guidance 2", "--guidance has no meaning for a model of tokens"),
        ("--model continuous", "needs --run"),
        ("--run RUN --seconds 99", "1 to 24 frames"),
        ("--run RUN --guidance -1", "--guidance must be 0 or more"),
    ],
)
def test_what_a_continuous_model_cannot_do_is_said(run, tiny, script, flags, message):
    words = [{"RUN": run, "TOKENS": tiny.run}.get(word, word) for word in flags.split()]
    done = script("sample", "--prompt", "a person walks", *words, "--device", "cpu")
    assert done.code == 2 and pytest.importorskip("re").search(message, done.err), done.err


def test_flags_that_contradict_each_other(data, tmp_path, script):
    base = ("--data", data, "--out", tmp_path / "run", *FLAGS)
    done = script("train_continuous", *base, "--text-model", "x")
    assert done.code == 2 and "--text-model is for a frozen encoder" in done.err
    done = script("train_continuous", *base, "--hidden-size", "18", "--num-heads", "4")
    assert done.code == 2 and "--hidden-size must be a multiple of 2 x 4 heads" in done.err
    for flags in ("--head regression --input-noise 0.1", "--head flow --noise-steps 9", "--head regression "
                  "--text-dropout 0.2", "--text-encoder smollm2 --text-layers 3"):  # fmt: skip
        done = script("train_continuous", *base, "--dry-run", *flags.split())
        name, given = flags.split()[2], " ".join(flags.split()[:2])
        assert done.code == 2 and f"{name} has no meaning for {given}" in done.err
    done = script("train_continuous", *base, "--text-encoder", "clip", "--text-model", tmp_path / "nothing")
    assert done.code == 2 and "nothing" in done.err and not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_config_of_a_run_repeats_it(run, data, tmp_path, script):
    done = script("train_continuous", "--data", data, "--out", tmp_path / "again", "--config", run / "config.json",
                  "--max-steps", 1, "--batch-size", 4, "--device", "cpu")  # fmt: skip
    assert done.code == 0, done.err
    both = [read_json(folder / "config.json")["ContinuousConfig"] for folder in (run, tmp_path / "again")]
    assert both[0] == both[1]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["own", "gt", "cut"])
def test_the_evaluation_has_the_rows_of_the_protocol(run, data, tmp_path, script, policy):
    evaluator = tmp_path / "evaluator"
    done = script("train_evaluator", "--data", data, "--out", evaluator, *test_evaluation_training.FLAGS)
    assert done.code == 0, done.err
    done = script("evaluate", "--what", "t2m", "--data", data, "--split", "val", "--run", run, "--evaluator", evaluator,
                  "--min-frames", 8, "--repeats", 2, "--multimodality", 2, "--flow-steps", 2, "--device", "cpu",
                  "--length-policy", policy, "--out", tmp_path / "report")  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert list(report["rows"]) == ["real", "model", "chance"]
    model = report["rows"]["model"]
    assert {"fid", "mm_dist", "r_precision_1", "diversity", "multimodality"} <= set(model)
    if policy == "gt":
        assert model["length_away"]["mean"] < 0.2  # clips of more than 24 frames are longer than this model writes
    assert report["protocol"]["sampling"] == FlowConfig(flow_steps=2).to_dict()
    assert "continuous model, flow head" in done.out and "tokenizer" not in done.out
    assert "length off the real" in (tmp_path / "report" / "report.md").read_text()
