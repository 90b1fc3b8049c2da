"""Evaluators: equal to the published networks, independent of the batch, strict about files that do not fit."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import for_each
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from motiongpt.config import EvaluatorConfig
from motiongpt.data.texts import Caption
from motiongpt.evaluation.clips import usable_frames
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.evaluation.networks import contrastive_loss, info_nce
from motiongpt.evaluation.published import load_movement_encoder
from motiongpt.evaluation.word_vectors import OTHER, POS, Vocabulary, caption_tokens, read_glove

WORDS = ["sos", "eos", "unk", "a", "person", "walk", "left", "slowly", "door"]
PUBLISHED = Path("text_mot_match", "model", "finest.tar")


# The published networks in their own form, for a single clip or caption and for a sorted batch.


class Movement(nn.Module):
    def __init__(self, inputs, width, outputs):
        super().__init__()
        first, second = nn.Conv1d(inputs, width, 4, 2, 1), nn.Conv1d(width, outputs, 4, 2, 1)
        self.main = nn.Sequential(first, nn.Dropout(0.2), nn.LeakyReLU(0.2), second, nn.Dropout(0.2), nn.LeakyReLU(0.2))
        self.out_net = nn.Linear(outputs, outputs)

    def forward(self, x):
        return self.out_net(self.main(x.permute(0, 2, 1)).permute(0, 2, 1))


class Recurrent(nn.Module):
    """Both encoders; the one of texts also has `pos_emb`."""

    def __init__(self, inputs, width, outputs, pos=0):
        super().__init__()
        if pos:
            self.pos_emb = nn.Linear(pos, inputs)
        self.input_emb = nn.Linear(inputs, width)
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        after = nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2), nn.Linear(width, outputs)
        self.output_net = nn.Sequential(*after)
        self.hidden = nn.Parameter(torch.randn(2, 1, width))

    def forward(self, x, lengths, packed=True):
        x, start = self.input_emb(x), self.hidden.repeat(1, len(x), 1)
        if packed:  # the published code sorts first: longest clip on top
            x = pack_padded_sequence(x, lengths, batch_first=True)
        last = self.gru(x, start)[1]
        return self.output_net(torch.cat((last[0], last[1]), dim=-1))


def write_glove(folder: Path, width: int = 12) -> np.ndarray:
    """The three files, with rows in another order than the words."""
    folder.mkdir()
    vectors = np.random.default_rng(1).normal(size=(len(WORDS), width))
    rows = {word: len(WORDS) - 1 - i for i, word in enumerate(WORDS)}
    np.save(folder / "our_vab_data.npy", vectors)
    (folder / "our_vab_words.pkl").write_bytes(pickle.dumps(WORDS))
    (folder / "our_vab_idx.pkl").write_bytes(pickle.dumps(rows))
    return vectors[::-1]


class World:
    """checkpoints/t2m with tiny networks, GloVe, and the reference's own objects."""

    def __init__(self, folder: Path, width: int = 263) -> None:
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.folder, self.glove = folder / "t2m", folder / "glove"
        self.vectors = write_glove(self.glove)
        self.movement, self.text = Movement(width - 4, 24, 20).eval(), Recurrent(12, 16, 10, pos=15).eval()
        self.motion = Recurrent(20, 32, 10).eval()
        self.mean, self.std = rng.normal(size=width).astype(np.float32), np.ones(width, np.float32)
        self.mean[-4:], self.std[-4:] = 0.5, 0.5 / 25
        meta = self.folder / "Comp_v6_KLD01" / "meta"
        meta.mkdir(parents=True)
        np.save(meta / "mean.npy", self.mean)
        np.save(meta / "std.npy", self.std)
        self.content = {
            "movement_encoder": self.movement.state_dict(), "text_encoder": self.text.state_dict(),
            "motion_encoder": self.motion.state_dict(), "epoch": 7, "iter": 1000,
            "opt_text_encoder": torch.optim.Adam(self.text.parameters()).state_dict(),
        }  # fmt: skip
        self.write()
        self.clips = [rng.normal(size=(n, width)).astype(np.float32) for n in (40, 196, 199, 4, 192, 61)]

    def write(self) -> None:
        (self.folder / PUBLISHED).parent.mkdir(parents=True, exist_ok=True)
        torch.save(self.content, self.folder / PUBLISHED)

    def load(self, **kwargs) -> Evaluator:
        return Evaluator.load(self.folder, self.glove, **kwargs)

    def reference_motion(self, clips, frames=196, packed=True) -> torch.Tensor:
        """All clips padded to `frames` as the published loader does, sorted by length, and put back in order."""
        lengths = torch.tensor([min(len(clip), 196) // 4 * 4 for clip in clips])
        batch = torch.zeros(len(clips), frames, len(self.mean))
        for row, clip, n in zip(batch, clips, lengths, strict=True):
            row[:n] = torch.from_numpy((clip[:n] - self.mean) / self.std)
        order = lengths.argsort(descending=True)
        out = torch.zeros(len(clips), 10)
        with torch.no_grad():
            out[order] = self.motion(self.movement(batch[order][..., :-4]), lengths[order] // 4, packed)
        return out


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("published"))


# 1e-5: float32 sums of a few hundred products of about 1, in another order
def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


# 1) The networks.


def test_motion_embeddings_are_the_published_ones(world):
    close(world.load().embed_motion(world.clips), world.reference_motion(world.clips))


def test_kit_has_other_widths(tmp_path):
    kit = World(tmp_path, 251)
    assert kit.load().representation.name == "humanml3d-251"
    close(kit.load().embed_motion(kit.clips), kit.reference_motion(kit.clips))


def test_text_embeddings_are_the_published_ones(world):
    """Word vectors, parts of speech and lengths by hand, for two captions; the longer one is cut at 20 words."""
    long = ["walk/NOUN", "stone/NOUN", *["a/DET"] * 20]
    short = ["person/NOUN", "left/ADV", "door/XX"]
    row = {word: i for i, word in enumerate(WORDS)}
    # sos, walk as Act_VIP, an unknown word, eighteen times a, eos; sos, person, left as Loc_VIP, door as OTHER, eos
    words = [[row["sos"], row["walk"], row["unk"], *[row["a"]] * 18, row["eos"]],
             [row["sos"], row["person"], row["left"], row["door"], row["eos"], *[row["unk"]] * 17]]  # fmt: skip
    parts = [[14, 12, 14, *[2] * 18, 14], [14, 1, 9, 14, 14, *[14] * 17]]
    vectors = torch.from_numpy(world.vectors.copy()).float()[torch.tensor(words)]
    with torch.no_grad():
        inputs = vectors + world.text.pos_emb(torch.eye(15)[torch.tensor(parts)])
        expected = world.text(inputs, [22, 5])
    close(world.load().embed_text([long, short]), expected)
    close(world.load().embed_text([short, long]), expected.flip(0))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_row_does_not_depend_on_its_batch(world, batch_size):
    evaluator = world.load()
    alone = torch.cat([evaluator.embed_motion([clip]) for clip in world.clips])
    close(evaluator.embed_motion(world.clips, batch_size=batch_size), alone)
    captions = ["a person", ["walk/VERB"], "a person walk left slowly", ""]
    alone = torch.cat([evaluator.embed_text([caption]) for caption in captions])
    close(evaluator.embed_text(captions, batch_size=batch_size), alone)
    assert (alone[0] - alone[1]).abs().max() > 1e-3  # the captions are told apart at all


def test_a_padded_batch_is_its_clips(world):
    evaluator, lengths = world.load(), [40, 192]
    batch = torch.full((2, 196, 263), 9.0)  # frames behind a clip are ignored
    batch[0, :40], batch[1, :192] = torch.from_numpy(world.clips[0]), torch.from_numpy(world.clips[4])
    close(evaluator.embed_motion(batch, lengths), evaluator.embed_motion([world.clips[0], world.clips[4]]))


def test_openmotionlab_runs_over_the_padding_of_the_batch(world):
    clips = [world.clips[i] for i in (0, 4, 5)]
    oml = world.load(packing="openmotionlab")
    close(oml.embed_motion(clips), world.reference_motion(clips, frames=192, packed=False))
    alone = oml.embed_motion(clips[:1])
    assert (oml.embed_motion(clips)[0] - alone[0]).abs().max() > 1e-2  # it depends on the neighbours
    assert "packing openmotionlab" in oml.describe() and "packing guo" in world.load().describe()
    with pytest.raises(ValueError, match="packing must be one of guo, openmotionlab, got 'both'"):
        world.load(packing="both")


@pytest.mark.parametrize("bad", [(3, 263), (8, 262)])
def test_clips_that_cannot_be_embedded(world, bad):
    with pytest.raises(ValueError, match=rf"clip 1: expected .*got \({bad[0]}, {bad[1]}\)"):
        world.load().embed_motion([world.clips[0], np.zeros(bad, np.float32)])
    with pytest.raises(ValueError, match="clip 0 has NaN"):
        world.load().embed_motion([np.full((8, 263), np.nan, np.float32)])


def test_usable_frames():
    assert [usable_frames(n, 196) for n in (3, 4, 7, 196, 199, 300)] == [0, 4, 4, 196, 196, 196]


# 2) Losses.


def test_contrastive_loss_by_hand():
    text, motion = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [30.0, 40.0]])
    # right pairs at 5 and 50; wrong ones at 50 (free beyond 10) and 5. 1e-3: torch's distance adds 1e-6 to each column
    expected = torch.tensor([25.0, 2500.0 + 25.0])
    torch.testing.assert_close(contrastive_loss(text, motion, 1, margin=10.0), expected, atol=1e-3, rtol=0)


def test_info_nce_by_hand():
    text, motion = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
    d = np.array([[0.0, 3.0], [1.0, 2.0]])
    right = np.diag(d)
    by_text, by_motion = right + np.log(np.exp(-d).sum(1)), right + np.log(np.exp(-d).sum(0))
    torch.testing.assert_close(info_nce(text, motion), torch.tensor((by_text + by_motion) / 2).float())
    same = torch.ones(2, 2, dtype=torch.bool)  # nothing is a mistake: nothing to learn
    assert info_nce(text, motion, same).abs().max() == 0


# 3) Words.


def test_vocabulary_rules():
    vocabulary = Vocabulary(WORDS)
    words, parts = vocabulary.encode("A person, walks LEFT!")  # a sentence: no lemmas, no tags but those of VIP words
    assert [WORDS[i] for i in words] == ["sos", "a", "person", "unk", "left", "eos"]
    assert [POS[i] for i in parts] == ["OTHER"] * 4 + ["Loc_VIP", "OTHER"]
    assert len(vocabulary.encode(["a/DET"] * 20)[0]) == len(vocabulary.encode(["a/DET"] * 21)[0]) == 22
    assert vocabulary.encode(["stone/NOUN"])[1][1] == OTHER  # an unknown word loses its tag
    assert caption_tokens(Caption("He walks", tokens="he/PRON walk/VERB")) == ["he/PRON", "walk/VERB"]
    assert caption_tokens(Caption("He walks")) == ["he/OTHER", "walks/OTHER"]
    assert Vocabulary.of([["a/DET", "b/c/NOUN"], ["a/DET"]]).words == ["sos", "eos", "unk", "a", "b/c"]
    with pytest.raises(ValueError, match="a token is word/POS, such as walk/VERB; got 'walk'"):
        vocabulary.encode(["walk"])


def test_glove_rows_follow_the_index(world):
    vocabulary, vectors = read_glove(world.glove)
    assert vocabulary.words == WORDS
    np.testing.assert_allclose(vectors, world.vectors, rtol=1e-6)  # float64 -> float32


@for_each(
    "name, content, message",
    [
        ("our_vab_idx.pkl", {"sos": 0}, "no row in our_vab_data.npy .9 rows. for the word 'eos'"),
        ("our_vab_words.pkl", {"a": 1}, "expected a list of words"),
        ("our_vab_words.pkl", ["sos", "eos"], "has every word once and 'unk' among them"),
        ("our_vab_data.npy", None, "no our_vab_data.npy"),
    ],
)
def test_wrong_glove_files_are_named(tmp_path, name, content, message):
    write_glove(tmp_path / "glove")
    path = tmp_path / "glove" / name
    path.unlink() if content is None else path.write_bytes(pickle.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_glove(tmp_path / "glove")


# 4) Files.


@for_each(
    "change, message",
    [
        (lambda c: c.pop("text_encoder"), "has no text_encoder; it holds: movement_encoder"),
        (lambda c: c.update(discriminator={}), "holds discriminator, which is no part"),
        (lambda c: c["motion_encoder"].pop("gru.bias_hh_l0"), r"missing 1 \(motion_encoder.gru.bias_hh_l0\)"),
        (lambda c: c["motion_encoder"].update(extra=torch.zeros(2)), r"unexpected 1 \(motion_encoder.extra\)"),
        (lambda c: c["text_encoder"].pop("input_emb.weight"), "text_encoder.input_emb.weight is missing"),
        (lambda c: c["text_encoder"].update(hidden="x"), "text_encoder.hidden is not a tensor"),
        (lambda c: c["text_encoder"].update({"hidden": torch.zeros(2, 1, 3)}), r"text_encoder.hidden is \(2, 1, 3\)"),
        (lambda c: c["movement_encoder"].update({"main.0.weight": torch.zeros(24, 96, 4)}), "reads 96 columns"),
    ],
)
def test_a_foreign_file_that_does_not_fit_is_refused_by_name(tmp_path, change, message):
    world = World(tmp_path)
    world.content = {k: dict(v) if isinstance(v, dict) else v for k, v in world.content.items()}
    change(world.content)
    world.write()
    with pytest.raises(ValueError, match=message):
        world.load()


def test_the_wrong_pair_of_statistics_is_refused(tmp_path, world):
    world = World(tmp_path)
    wrong = tmp_path / "own"
    wrong.mkdir()
    np.save(wrong / "Mean.npy", world.mean)
    np.save(wrong / "Std.npy", np.where(np.arange(263) >= 259, 0.5, 1).astype(np.float32))
    with pytest.raises(ValueError, match="is the data set's own pair.*expected the evaluators' pair"):
        world.load(stats=wrong)
    (world.folder / "Comp_v6_KLD01").rename(world.folder / "elsewhere")
    with pytest.raises(ValueError, match=r"has 0 folders Comp_v6_KLD0\*/meta, expected one"):
        world.load()
    with pytest.raises(FileNotFoundError, match="no our_vab_data.npy"):  # the folder comes first, its statistics next
        Evaluator.load(world.folder, tmp_path / "nothing")
    close(world.load(stats=world.folder / "elsewhere" / "meta").embed_motion(world.clips),
          world.reference_motion(world.clips))  # fmt: skip


def test_a_published_evaluator_needs_words_and_an_empty_folder_is_none(world, tmp_path):
    with pytest.raises(ValueError, match="has no word vectors: give the GloVe folder"):
        Evaluator.load(world.folder)
    with pytest.raises(FileNotFoundError, match="holds no evaluator: neither"):
        Evaluator.load(tmp_path)


def test_saved_and_loaded_it_gives_the_same_numbers(world, tmp_path):
    world.load(packing="openmotionlab").save(tmp_path / "own")
    again = Evaluator.load(tmp_path / "own")
    assert (again.packing, again.fps, again.facts) == ("openmotionlab", 20.0, world.load().facts)
    guo = Evaluator.load(tmp_path / "own", packing="guo")
    assert torch.equal(guo.embed_motion(world.clips), world.load().embed_motion(world.clips))
    assert torch.equal(guo.embed_text(["a person walk"]), world.load().embed_text(["a person walk"]))
    np.save(tmp_path / "own" / "Std.npy", world.std * 25)
    with pytest.raises(ValueError, match="is the data set's own pair"):
        Evaluator.load(tmp_path / "own")


def test_the_hash_is_of_all_that_decides_an_embedding(tmp_path):
    world = World(tmp_path)
    world.load().save(tmp_path / "own")
    hashes = [world.load().hash, world.load(packing="openmotionlab").hash, Evaluator.load(tmp_path / "own").hash]
    assert len(set(hashes)) == 1 and len(hashes[0]) == 16 and int(hashes[0], 16)
    own = tmp_path / "own"
    content = json.loads((own / "config.json").read_text())
    assert content.pop("hashes")  # without them a change is no damage
    (own / "config.json").write_text(json.dumps(content, indent=2))
    for name, change in {  # weights and words of one folder, another of each
        "Mean.npy": lambda path: np.save(path, np.load(path) + 0.01),
        "Std.npy": lambda path: np.save(
            path, np.load(path) * np.where(np.arange(263) < 200, 1.5, 1).astype(np.float32)
        ),
        "words.json": lambda path: path.write_text(json.dumps([*WORDS[:-2], *WORDS[:-3:-1]])),
        "config.json": lambda path: path.write_text(path.read_text().replace('"max_frames": 196', '"max_frames": 160')),
        "model.safetensors": lambda path: save_file({k: v + 1e-3 for k, v in load_file(path).items()}, path),
    }.items():
        before = (own / name).read_bytes()
        change(own / name)
        assert (own / name).read_bytes() != before
        hashes.append(Evaluator.load(own).hash)
        (own / name).write_bytes(before)
    np.save(world.glove / "our_vab_data.npy", np.random.default_rng(2).normal(size=(len(WORDS), 12)))
    hashes.append(world.load().hash)
    stats = shutil.copytree(world.folder / "Comp_v6_KLD01" / "meta", tmp_path / "meta")
    np.save(stats / "mean.npy", world.mean + 0.01 * (world.std == 1))
    hashes.append(world.load(stats=stats).hash)
    assert len(set(hashes)) == len(hashes) - 2


@for_each(
    "name, change",
    [("words.json", [["unk"]]), ("words.json", [1, 2]), ("words.json", {}), ("config.json", {"EvaluatorConfig": 3}),
     ("config.json", {"facts": [1]}), ("config.json", [])],
)  # fmt: skip
def test_json_of_another_kind_is_refused(world, tmp_path, name, change):
    path = tmp_path / "own" / name
    world.load().save(path.parent)
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | change if isinstance(change, dict) and isinstance(known, dict) else change))
    with pytest.raises(ValueError):
        Evaluator.load(path.parent)


def test_the_movement_encoder_of_a_decomposed_checkpoint(world, tmp_path):
    path = tmp_path / "latest.tar"
    torch.save({"movement_enc": world.movement.state_dict(), "movement_dec": {}, "ep": 3}, path)
    encoder, x = load_movement_encoder(path).eval(), torch.randn(2, 16, 259)
    with torch.no_grad():
        close(encoder(x), world.movement(x))
    torch.save({"movement_dec": {}}, path)
    with pytest.raises(ValueError, match="has no movement_enc; it holds: movement_dec"):
        load_movement_encoder(path)


@for_each(
    "values, message",
    [
        ({"max_frames": 30}, "--max-frames must be a multiple of 4, got 30"),
        ({"objective": "triplet"}, "--objective must be one of info_nce, contrastive"),
        ({"contacts": 263}, "--contacts must be fewer than feature_dim"),
        ({"temperature": 0.0}, "--temperature must be positive"),
    ],
)
def test_config_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        EvaluatorConfig(**values)
