"""Models of Lit-LLaMA and the LoRA weights of MotionGPT (qiqiApink) on top, against a small model of their layout."""

import pytest
import torch
import torch.nn.functional as F
from cases import for_each, seeded
from torch import Tensor, nn

from motiongpt import lora
from motiongpt.llm import LLM
from motiongpt.weights.backbone import load_backbone
from motiongpt.weights.lit_llama import load_lit_llama, load_lit_lora
from motiongpt.weights.llm import load_llm, save_llm
from motiongpt.weights.shards import weights_hash

V, C, H, LAYERS, R, ALPHA = 96, 256, 2, 2, 4, 16.0
INNER = 768  # 2/3 of 4 C, up to a multiple of 256
# fp32, with sums in another order, on logits of order 10
CLOSE = dict(atol=1e-4, rtol=1e-5)


# 1) The reference, written from the public description: fused q, k, v; complex rotation of neighbours; grouped LoRA.


class FusedLoRA(nn.Linear):
    """Adapters on the first and the last third of the output, by one grouped convolution over both."""

    def __init__(self) -> None:
        super().__init__(C, 3 * C, bias=False)
        self.lora_A = nn.Parameter(torch.zeros(2 * R, C))
        self.lora_B = nn.Parameter(torch.zeros(2 * C, R))

    def forward(self, x: Tensor) -> Tensor:
        low = F.linear(x, self.lora_A).mT  # (B, 2r, T)
        update = F.conv1d(low, self.lora_B[..., None], groups=2).mT * (ALPHA / R)  # (B, T, 2C)
        return super().forward(x) + torch.cat((update[..., :C], torch.zeros_like(update[..., :C]), update[..., C:]), -1)


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(C))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.scale


def turn(x: Tensor) -> Tensor:
    """Rotate neighbouring channels of x (B, H, T, d) as complex numbers."""
    T, d = x.shape[-2:]
    angles = torch.outer(torch.arange(T).float(), 1.0 / 10_000.0 ** (torch.arange(0, d, 2).float() / d))
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2)


class FusedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_attn, self.c_proj = FusedLoRA(), nn.Linear(C, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (H, -1)).transpose(1, 2) for part in self.c_attn(x).split(C, -1))
        y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class FusedMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_fc1, self.c_fc2 = nn.Linear(C, INNER, bias=False), nn.Linear(C, INNER, bias=False)
        self.c_proj = nn.Linear(INNER, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.silu(self.c_fc1(x)) * self.c_fc2(x))


class FusedBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rms_1, self.attn, self.rms_2, self.mlp = Norm(), FusedAttention(), Norm(), FusedMLP()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.rms_1(x))
        return x + self.mlp(self.rms_2(x))


class Reference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lm_head = nn.Linear(C, V, bias=False)
        blocks = nn.ModuleList(FusedBlock() for _ in range(LAYERS))
        self.transformer = nn.ModuleDict({"wte": nn.Embedding(V, C), "h": blocks, "ln_f": Norm()})
        self.llama_proj, self.motion_proj = nn.Linear(512, C), nn.Linear(C, 512)  # there, and used by nothing
        generator = seeded(1)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                # lora_B starts at zero there too, so that a fresh model is the base
                draw = 0.1 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(draw * ("lora_B" not in name) + (parameter.dim() == 1))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.transformer["wte"](ids)
        for block in self.transformer["h"]:
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x))

    def base(self) -> dict[str, Tensor]:
        return {key: t for key, t in self.state_dict().items() if "lora" not in key and "_proj." not in key[:12]}

    def adapters(self) -> dict[str, Tensor]:
        return {key: t for key, t in self.state_dict().items() if key not in self.base()}

    def train_adapters(self) -> None:
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0.0, 0.05, generator=seeded(len(name)))


@pytest.fixture
def theirs() -> Reference:
    return Reference().eval()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, V, (2, 20), generator=seeded(2))


# 2) What loads.


@for_each("zipped", [True, False])
def test_logits_of_a_folder(zipped, theirs, ids, tmp_path):
    folder = tmp_path / "7B"
    folder.mkdir()
    torch.save(theirs.base(), folder / "lit-llama.pth", _use_new_zipfile_serialization=zipped)
    with torch.inference_mode():
        expected = theirs(ids)
        for ours in (load_llm(folder), load_backbone(folder), load_lit_llama(folder / "lit-llama.pth")):
            torch.testing.assert_close(ours(ids), expected, **CLOSE)
    assert len(weights_hash(folder)) == 16
    # half of the precision, from a file of half
    torch.save({key: tensor.half() for key, tensor in theirs.base().items()}, folder / "lit-llama.pth")
    assert {tensor.dtype for tensor in load_llm(folder, torch.bfloat16).state_dict().values()} == {torch.bfloat16}
    assert (load_llm(folder)(ids) - expected).abs().max() < 0.1  # weights with 11 bits instead of 24


def test_adapters_on_top(theirs, ids, tmp_path):
    """As adapters, merged, and as a Hugging Face folder."""
    torch.save(theirs.base(), tmp_path / "lit-llama.pth")
    before = theirs(ids)
    theirs.train_adapters()
    torch.save(theirs.adapters(), tmp_path / "finetuned.pth")
    assert any(key.startswith("llama_proj.") for key in theirs.adapters())
    ours = load_llm(tmp_path)
    config = load_lit_lora(ours, tmp_path / "finetuned.pth")
    assert (config.lora_r, config.lora_alpha, config.lora_targets) == (R, ALPHA, ("q_proj", "v_proj"))
    with torch.inference_mode():
        expected = theirs(ids)
        assert (expected - before).abs().max() > 0.1  # the adapters matter
        torch.testing.assert_close(ours(ids), expected, **CLOSE)
        lora.merge(ours)
        torch.testing.assert_close(ours(ids), expected, **CLOSE)
        save_llm(ours, tmp_path / "hf")
        torch.testing.assert_close(load_llm(tmp_path / "hf")(ids), expected, **CLOSE)


def test_the_folder_of_transformers(theirs, ids, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.save(theirs.base(), tmp_path / "lit-llama.pth")
    save_llm(load_llm(tmp_path), tmp_path / "hf")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, theirs(ids), **CLOSE)


# 3) What does not.


def without(base: dict, part: str) -> dict:
    return {key: tensor for key, tensor in base.items() if part not in key}


@for_each(
    "change, message",
    [
        (lambda base: {}, "not a dict of tensors"),
        (lambda base: {"epoch": 3}, "not a dict of tensors .*epoch"),
        (lambda base: [1], "not a dict of tensors"),
        (lambda base: {"model": base}, "not a dict of tensors .*model"),
        (lambda base: {"net.weight": torch.zeros(2)}, "no matrix transformer.wte.weight; it has net.weight"),
        (lambda base: base | {"transformer.wte.weight": torch.zeros(V, 200)}, "200 wide, which is no multiple of 128"),
        (lambda base: base | {"lm_head.weight": torch.zeros(V, 3)}, r"lm_head.weight is \(96, 3\), the model has"),
        (lambda base: base | {"extra": torch.zeros(1)}, "unexpected 1 .extra"),
        (lambda base: without(base, "h.1.rms_2"), "missing 1 .transformer.h.1.rms_2"),
        (lambda base: {f"module.{key}": t for key, t in base.items()}, "no matrix transformer.wte.weight; it has mod"),
    ],
)
def test_other_content_is_named(change, message, theirs, tmp_path):
    torch.save(change(theirs.base()), tmp_path / "lit-llama.pth")
    with pytest.raises(ValueError, match=f"lit-llama.pth.*{message}") as error:
        load_llm(tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_in_the_file_is_run(tmp_path):
    torch.save({"transformer.wte.weight": print}, tmp_path / "lit-llama.pth")
    with pytest.raises(ValueError, match="lit-llama.pth: refuses to load builtins.print|lit-llama.pth.*print"):
        load_llm(tmp_path)
    (tmp_path / "lit-llama.pth").write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match="lit-llama.pth is damaged"):
        load_llm(tmp_path)


def test_adapters_for_another_base(theirs, tmp_path):
    torch.save(theirs.base(), tmp_path / "lit-llama.pth")
    ours = load_llm(tmp_path)
    whole = theirs.adapters()
    for change, message in (
        ({key: t[:, :7] if "lora_A" in key else t for key, t in whole.items()}, r"lora_A is \(8, 7\), the model has"),
        ({key: t for key, t in whole.items() if "h.1." not in key}, "missing 2"),
        ({key: t for key, t in whole.items() if "lora" not in key}, "missing 4"),
        (whole | {"transformer.h.2.attn.c_attn.lora_A": torch.zeros(8, C)}, "unexpected 1"),
    ):
        torch.save(change, tmp_path / "finetuned.pth")
        with pytest.raises(ValueError, match=f"finetuned.pth.*{message}"):
            load_lit_lora(ours, tmp_path / "finetuned.pth")
        assert not lora.lora_layers(ours)


def test_a_file_larger_than_the_memory(theirs, tmp_path, monkeypatch):
    torch.save(theirs.base(), tmp_path / "lit-llama.pth")
    monkeypatch.setattr("motiongpt.weights.memory.free_memory", lambda device: 1000)
    with pytest.raises(ValueError, match="lit-llama.pth takes 0.0 GB; this machine has 0.0 GB free: close"):
        load_llm(tmp_path)


def test_a_hugging_face_folder_beside_it_counts(theirs, ids, tmp_path):
    """As elsewhere: config.json says what the folder is."""
    torch.save(theirs.base(), tmp_path / "lit-llama.pth")
    ours = load_llm(tmp_path)
    other = LLM(ours.config, seeded(5)).eval()
    save_llm(other, tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(load_llm(tmp_path)(ids), other(ids))
