"""Tokenizers of other projects give the codes and motions of their own networks; errors name what does not fit.

The networks here are written anew from the published layout: encoder and decoder are one nn.Sequential each, whose
indices appear in the key names.
"""

import pickle
from pathlib import Path

import pytest
import torch
from cases import for_each, seeded
from torch import nn

from motiongpt.config import VQVAEConfig
from motiongpt.files.store import write_tensors
from motiongpt.vqvae import VQVAE, frame_mask
from motiongpt.weights.vqvae import COUNT, load_vqvae, save_t2m_gpt, save_vqvae

PROJECTS = ("t2m-gpt", "openmotionlab", "openmotionlab-motion", "signmotiongpt", "momask", "momask-shared")
WIDTHS = {"signmotiongpt": 182}


class Block(nn.Module):
    def __init__(self, width, dilation, activation):
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, 1, dilation, dilation)
        self.conv2 = nn.Conv1d(width, width, 1)
        self.activation = activation

    def forward(self, x):
        return self.conv2(self.activation(self.conv1(self.activation(x)))) + x


class Stack(nn.Module):
    def __init__(self, width, depth, growth, activation):
        super().__init__()
        blocks = [Block(width, growth**i, activation) for i in range(depth)]
        self.model = nn.Sequential(*blocks[::-1])

    def forward(self, x):
        return self.model(x)


class Holder(nn.Module):
    """A module whose only child is called `model`."""

    def __init__(self, *modules):
        super().__init__()
        self.model = nn.Sequential(*modules)


class Book(nn.Module):
    def __init__(self, codebook):
        super().__init__()
        self.register_buffer("codebook", codebook)


class Quantizer(nn.Module):
    def __init__(self, books, layered):
        super().__init__()
        if layered:
            self.layers = nn.ModuleList(map(Book, books))
        else:
            self.register_buffer("codebook", books[0])
        self.books = books


class Reference(nn.Module):
    """The published network. Its codes (B, S, Q) come from cdist in float64, an independent way to the nearest row."""

    def __init__(self, feature_dim=263, codes=20, C=8, width=12, depth=3, growth=3, down=2, layers=0, shared=False,
                 activation=torch.relu):  # fmt: skip
        super().__init__()
        first, stack = (lambda i, o: nn.Conv1d(i, o, 3, 1, 1)), (width, depth, growth, activation)
        downs = [nn.Sequential(nn.Conv1d(width, width, 4, 2, 1), Stack(*stack)) for _ in range(down)]
        ups = [nn.Sequential(Stack(*stack), nn.Upsample(scale_factor=2), first(width, width)) for _ in range(down)]
        self.encoder = Holder(first(feature_dim, width), nn.ReLU(), *downs, first(width, C))
        self.decoder = Holder(first(C, width), nn.ReLU(), *ups, first(width, width), nn.ReLU(),
                              first(width, feature_dim))  # fmt: skip
        for parameter in self.parameters():
            parameter.data.mul_(2.0)  # outputs near 1
        books, rest = [], self.latents(torch.randn(1, 1200, feature_dim)).detach()[0]
        for _ in range(max(1, layers)):
            books.append(rest[torch.randperm(len(rest))[:codes]].clone())
            rest = rest - books[-1][torch.cdist(rest, books[-1]).argmin(-1)]
        self.quantizer = Quantizer(books[:1] * layers if shared else books, layers > 0)

    def latents(self, motion):
        return self.encoder.model(motion.transpose(1, 2)).transpose(1, 2)

    @torch.no_grad()
    def encode(self, motion):
        rest, codes = self.latents(motion), []
        for book in self.quantizer.books:
            codes.append(torch.cdist(rest.double(), book.double()[None]).argmin(-1))
            rest = rest - book[codes[-1]]
        return torch.stack(codes, -1)

    @torch.no_grad()
    def decode(self, codes):
        latents = sum(book[c] for book, c in zip(self.quantizer.books, codes.unbind(-1), strict=False))
        return self.decoder.model(latents.transpose(1, 2)).transpose(1, 2)


def content_of(project: str, reference: Reference) -> dict:
    """What this project passes to torch.save."""
    state = dict(reference.state_dict())
    others = {"lm.language_model.shared.weight": torch.ones(3, 2), "metrics.t2m.count": torch.ones(())}
    prefixed = {p: {p + key: value for key, value in state.items()} for p in ("vqvae.", "vae.", "motion_vae.")}
    return {
        "t2m-gpt": {"net": prefixed["vqvae."]},
        "openmotionlab": {"state_dict": prefixed["vae."] | others, "epoch": 3},
        "openmotionlab-motion": {"state_dict": prefixed["motion_vae."] | others, "epoch": 3},
        "signmotiongpt": {"model_state_dict": prefixed["vqvae."] | {"loss_weights": torch.ones(182)}, "loss": 0.25},
        "momask": {"vq_model": state, "opt_vq_model": {"state": {}}, "ep": 4, "total_it": 9},
        "momask-shared": {"vq_model": state, "ep": 4},
    }[project]


def make(project: str, **sizes) -> Reference:
    layered = {"layers": 3, "shared": project.endswith("shared")} if project.startswith("momask") else {}
    return Reference(**{"feature_dim": WIDTHS.get(project, 263)} | layered | sizes)


def saved(project: str, reference: Reference, path: Path) -> Path:
    torch.save(content_of(project, reference), path)
    return path


def assert_same(ours: VQVAE, reference: Reference, frames=(4, 40, 64, 65, 66, 67)) -> None:
    """Codes are equal, motions agree to 1e-4 (in practice to about 1e-6)."""
    for F in frames:
        motion = torch.randn(2, F, ours.config.feature_dim)
        codes = reference.encode(motion)
        assert torch.equal(ours.encode_all(motion), codes)
        assert torch.equal(ours.encode(motion), codes[..., 0])
        torch.testing.assert_close(ours.decode(codes), reference.decode(codes), atol=1e-4, rtol=0)
        first = reference.decode(codes[..., :1])
        torch.testing.assert_close(ours.decode(codes[..., 0]), first, atol=1e-4, rtol=0)
    assert codes.unique().numel() > 3 and first.std() > 0.05  # the networks do something


@pytest.mark.parametrize("project", PROJECTS)
def test_codes_and_motions_are_the_projects_own(project, tmp_path):
    reference = make(project)
    ours = load_vqvae(saved(project, reference, tmp_path / "file.pth"))
    assert not ours.training
    assert_same(ours, reference)
    config = ours.config
    layered = project.startswith("momask")
    assert (config.codes, config.code_dim, config.width, config.depth, config.down) == (20, 8, 12, 3, 2)
    assert (config.feature_dim, config.joint_dim) == ((182, 0) if project == "signmotiongpt" else (263, 63))
    assert (config.quantizer, config.dropout) == (("residual", 0.2) if layered else ("ema_reset", 0.0))
    if layered:
        assert config.rvq_layers == 3
        assert config.rvq_codebooks == ("shared" if project.endswith("shared") else "separate")


@pytest.mark.parametrize(
    "sizes",
    [{"feature_dim": 251, "codes": 9, "C": 5, "width": 7, "depth": 1, "down": 1}, {"depth": 2, "down": 3, "width": 6},
     {"layers": 1}],
)  # fmt: skip
def test_every_size_is_read_off_the_file(sizes, tmp_path):
    reference = Reference(**sizes)
    ours = load_vqvae(saved("momask" if "layers" in sizes else "t2m-gpt", reference, tmp_path / "x.pth"))
    assert_same(ours, reference, frames=(16, 40))
    assert ours.config.joint_dim == (60 if sizes.get("feature_dim") == 251 else 63)


@pytest.mark.parametrize(("name", "function"), [("silu", nn.SiLU()), ("gelu", nn.GELU())])
def test_what_a_file_cannot_tell_is_given(name, function, tmp_path):
    """Dilations and activation leave no tensors: with the right settings both agree, and the settings matter."""
    reference = Reference(activation=function, growth=2)
    path = saved("t2m-gpt", reference, tmp_path / "x.pth")
    assert_same(load_vqvae(path, activation=name, dilation_growth=2), reference)
    motion = torch.randn(1, 64, 263)
    codes = reference.encode(motion)
    assert (load_vqvae(path).decode(codes) - reference.decode(codes)).abs().max() > 0.01


def test_settings_that_contradict_the_file_are_refused(tmp_path):
    path = saved("t2m-gpt", Reference(), tmp_path / "x.pth")
    assert load_vqvae(path, width=12, dead_below=0.1).config.dead_below == 0.1
    with pytest.raises(ValueError, match="x.pth: width is 12 in the file, 64 was asked for"):
        load_vqvae(path, width=64)
    with pytest.raises(ValueError, match="x.pth: quantizer is ema_reset in the file, fsq was asked for"):
        load_vqvae(path, quantizer="fsq")
    with pytest.raises(ValueError, match="x.pth: VQVAEConfig has no field colour"):
        load_vqvae(path, colour=1)


def test_half_precision_and_safetensors(tmp_path):
    reference = Reference()
    state = {"vqvae." + key: value for key, value in reference.state_dict().items()}
    write_tensors(tmp_path / "x.safetensors", state)
    assert_same(load_vqvae(tmp_path / "x.safetensors"), reference)
    torch.save({"net": {key: value.half() for key, value in state.items()}}, tmp_path / "x.pth")
    assert all(t.dtype in (torch.float32, torch.bool) for t in load_vqvae(tmp_path / "x.pth").state_dict().values())


# ---- training continued from such a file ----------------------------------------------------------------------------


@pytest.mark.parametrize("project", ["t2m-gpt", "momask"])
def test_training_goes_on_from_the_codebook(project, tmp_path):
    """The first step moves rows by averages and resets none, so the codebook is not drawn from the batch."""
    ours = load_vqvae(saved(project, make(project), tmp_path / "x.pth"), dead_below=1.0, dropout=0.0).train()
    before = {name: value.clone() for name, value in ours.quantizer.state_dict().items()}
    assert all(bool(value.all()) for name, value in before.items() if name.endswith("ready"))
    motion, lengths = torch.randn(2, 64, 263), torch.tensor([64, 20])
    with torch.no_grad():
        latents, mask = ours.latents(motion, lengths), frame_mask(lengths // 4, 16)
    out = ours(motion, lengths)
    assert out["resets"] == 0
    name = "codebook" if project == "t2m-gpt" else "layers.0.codebook"
    after = ours.quantizer.state_dict()[name]
    codes = out["codes"]
    for row in range(20):
        mine = latents[mask & (codes == row)]
        wanted = (0.99 * COUNT * before[name][row] + 0.01 * mine.sum(0)) / (0.99 * COUNT + 0.01 * len(mine))
        torch.testing.assert_close(after[row], wanted, atol=1e-5, rtol=1e-4)  # fp32


def test_a_loaded_tokenizer_saves_as_ours(tmp_path):
    from motiongpt.files.store import write_json

    ours = load_vqvae(saved("momask", make("momask"), tmp_path / "x.pth"))
    save_vqvae(ours, tmp_path / "own")
    write_json(tmp_path / "own" / "config.json", {"VQVAEConfig": ours.config.to_dict()})
    again = load_vqvae(tmp_path / "own")
    assert again.config == ours.config
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match="own has a config.json, activation cannot be given"):
        load_vqvae(tmp_path / "own", activation="silu")


# ---- files that do not fit ----------------------------------------------------------------------------------------


def change(project: str, path: Path, edit) -> Path:
    content = content_of(project, make(project))
    edit(next(value for key, value in content.items() if isinstance(value, dict)))
    torch.save(content, path)
    return path


@for_each(
    "edit, message",
    [
        (lambda s: s.pop("vqvae.decoder.model.2.2.bias"), "missing 1 (decoder.model.2.2.bias), unexpected none"),
        (lambda s: s.update({"vqvae.encoder.model.2.1.model.0.norm1.weight": torch.ones(12)}),
         "missing none, unexpected 1 (encoder.model.2.1.model.0.norm1.weight)"),
        (lambda s: s.update({"vqvae.encoder.model.3.0.weight": torch.ones(12, 12, 3)}),
         "encoder.model.3.0.weight is (12, 12, 3), the model has (12, 12, 4)"),
        (lambda s: s.update({"vqvae.decoder.model.6.weight": torch.ones(259, 12, 3)}),
         "decoder.model.6.weight is (259, 12, 3), the model has (263, 12, 3)"),
        (lambda s: s.update({"vqvae.quantizer.codebook": torch.ones(20, 9)}),
         "encoder.model.4.weight is (8, 12, 3), the model has (9, 12, 3)"),
        (lambda s: s.update({"vqvae.quantizer.codebook": torch.ones(20)}), "quantizer.codebook is of shape (20,)"),
        (lambda s: s.pop("vqvae.quantizer.codebook"), "quantizer.codebook is not there"),
        (lambda s: s.update({"vqvae.encoder.model.2.0.bias": [1, 2]}), "is not a tensor of floating-point numbers"),
        (lambda s: s.update({"vqvae.encoder.model.2.0.bias": torch.ones(12).long()}), "is not a tensor of floating-"),
        (lambda s: s.update({"discriminator.weight": torch.ones(2)}), "discriminator.weight is no part of a motion"),
        (lambda s: s.update({"loss_weights": torch.ones(7)}), "loss_weights is no part of a motion tokenizer"),
        (lambda s: s.update({"vae.encoder.model.0.weight": torch.ones(2, 2, 3)}), "holds more than one motion"),
        (lambda s: s.update({"vqvae.encoder.model.0.weight": torch.ones(12)}), "encoder.model.0.weight is of shape"),
        (lambda s: s.update({"vqvae.encoder.model.0.weight": 3}), "encoder.model.0.weight"),
        (lambda s: [s.pop(k) for k in list(s) if ".2.1.model" in k], "--depth must be at least 1"),
        (lambda s: s.clear(), "holds no motion tokenizer: expected one of motion_vae.encoder.model.0.weight"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_named(edit, message, tmp_path):
    with pytest.raises(ValueError) as error:
        load_vqvae(change("t2m-gpt", tmp_path / "x.pth", edit))
    assert "x.pth" in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


@for_each(
    "edit, message",
    [
        (lambda s: s.update({"quantizer.layers.1.codebook": torch.ones(())}),
         "quantizer.layers.1.codebook is (), the model has (20, 8)"),
        (lambda s: s.update({"quantizer.layers.2.codebook": torch.ones(19, 8)}),
         "quantizer.layers.2.codebook is (19, 8), the model has (20, 8)"),
        (lambda s: s.pop("quantizer.layers.1.codebook"), "unexpected 1 (quantizer.layers.2.codebook)"),
        (lambda s: s.pop("quantizer.layers.0.codebook"), "quantizer.codebook is not there"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_named(edit, message, tmp_path):
    with pytest.raises(ValueError) as error:
        load_vqvae(change("momask", tmp_path / "x.tar", edit))
    assert "x.tar" in str(error.value) and message in str(error.value)


def test_other_files_are_refused(tmp_path):
    for name, value in (("list", [1, 2]), ("number", 3), ("nested", {"net": {"net": {}}}), ("odd", {3: torch.ones(1)})):
        torch.save(value, tmp_path / f"{name}.pth")
        with pytest.raises(ValueError, match=f"{name}.pth holds"):
            load_vqvae(tmp_path / f"{name}.pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print))
    (tmp_path / "text.pth").write_text("no pickle")
    for name in ("code", "text"):
        with pytest.raises(ValueError, match=f"{name}.pth"):
            load_vqvae(tmp_path / f"{name}.pth")
    with pytest.raises(FileNotFoundError, match="absent"):
        load_vqvae(tmp_path / "absent.pth")


def test_a_damaged_file_is_a_valueerror(tmp_path):
    """A truncated file, or one with flipped bytes, gives an error of one line or loads, but never a crash."""
    whole = saved("t2m-gpt", Reference(width=4, C=3, codes=5, depth=1), tmp_path / "x.pth").read_bytes()
    generator = seeded(0)
    refused = 0
    for turn in range(100):
        data = bytearray(whole)
        place = int(torch.randint(len(data), (), generator=generator))
        if turn % 2:
            data[place] ^= 1 << (turn % 8)
        else:
            del data[place:]
        (tmp_path / "y.pth").write_bytes(data)
        try:
            assert isinstance(load_vqvae(tmp_path / "y.pth"), VQVAE)
        except ValueError as error:
            refused += 1
            assert "y.pth" in str(error) and "\n" not in str(error)
    assert refused >= 50  # every truncated file


def test_sizes_that_only_a_key_claims_take_no_memory(tmp_path):
    """A first layer of 3 million channels in a small file would be a network of 10^13 weights."""

    def claim(state):
        state["vqvae.encoder.model.0.weight"] = torch.zeros(1).expand(3_000_000, 1, 1)

    with pytest.raises(ValueError, match="x.pth"):
        load_vqvae(change("t2m-gpt", tmp_path / "x.pth", claim))


# ---- and back again -------------------------------------------------------------------------------------------------


def test_export_is_the_inverse(tmp_path):
    """Their own network loads the file strictly. Loaded, exported and loaded again, all is equal, averages included."""
    reference = Reference()
    ours = load_vqvae(saved("t2m-gpt", reference, tmp_path / "x.pth"))
    save_t2m_gpt(ours, tmp_path / "y.pth")
    content = torch.load(tmp_path / "y.pth", weights_only=True)
    assert list(content) == ["net"]
    net = {key.removeprefix("vqvae."): value for key, value in content["net"].items()}
    assert all(key.startswith("vqvae.") for key in content["net"])
    assert net.keys() == reference.state_dict().keys()
    assert all(torch.equal(net[key], value) for key, value in reference.state_dict().items())
    again = load_vqvae(tmp_path / "y.pth")
    assert again.config == ours.config
    for (name, a), b in zip(ours.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("kind", ["fsq", "residual"])
def test_what_their_layout_cannot_hold_is_refused(kind, tmp_path):
    model = VQVAE(VQVAEConfig(feature_dim=23, joint_dim=0, codes=30, code_dim=8, width=8, quantizer=kind))
    with pytest.raises(ValueError, match=f"one codebook; this tokenizer's quantizer is {kind}"):
        save_t2m_gpt(model, tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())
