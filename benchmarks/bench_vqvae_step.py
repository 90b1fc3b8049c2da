"""One training step of a VQ-VAE in T2M-GPT's size (19.4 M parameters), ours beside the same network as its code has it.

    python benchmarks/bench_vqvae_step.py                           # fp32, and bf16 where the CPU has it
    python benchmarks/bench_vqvae_step.py --curve 40 --batch 32     # the losses of 40 steps in fp32 and bf16 as well

A step is forward, backward, clipping and AdamW on a batch of 256 windows of 64 frames, windows of made-up motions in
HumanML3D's features. The peer is written here after the public models/encdec.py, resnet.py and quantize_cnn.py, and
trains in fp32, as its code does. Both start with the same weights. Nothing is timed before both have given the same
loss. A model trained in bf16 must learn as well as one in fp32, which --curve shows.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch
import torch.nn.functional as F
from compare import in_turn, report
from torch import Tensor, nn

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.config import TrainConfig, VQVAEConfig
from motiongpt.data.batches import WindowBatches
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.loops import make_optimizer
from motiongpt.procedural.clips import generate_clips
from motiongpt.training.devices import autocast, resolve_precision
from motiongpt.vqvae import VQVAE

SAME = 1e-4  # relative: fp32 sums of a million terms in another order
CLIP = 1.0  # of the gradient's norm

# 1) The peer, layer by layer as in the public code. Motion is (B, C, F) between its layers.


class Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, 1, dilation, dilation)
        self.conv2 = nn.Conv1d(width, width, 1, 1, 0)
        self.activation1, self.activation2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.activation2(self.conv1(self.activation1(x))))


def blocks(width: int) -> nn.Module:
    return nn.Sequential(*(Block(width, dilation) for dilation in (9, 3, 1)))


class Peer(nn.Module):
    """T2M-GPT's VQVAE_251 with its quantiser: one-hot codes, moving averages, rows drawn anew."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        width, decay = config.width, config.ema_decay
        self.encoder = nn.Sequential(
            nn.Conv1d(config.feature_dim, width, 3, 1, 1),
            nn.ReLU(),
            nn.Sequential(nn.Conv1d(width, width, 4, 2, 1), blocks(width)),
            nn.Sequential(nn.Conv1d(width, width, 4, 2, 1), blocks(width)),
            nn.Conv1d(width, config.code_dim, 3, 1, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(config.code_dim, width, 3, 1, 1),
            nn.ReLU(),
            nn.Sequential(blocks(width), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv1d(width, width, 3, 1, 1)),
            nn.Sequential(blocks(width), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv1d(width, width, 3, 1, 1)),
            nn.Conv1d(width, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv1d(width, config.feature_dim, 3, 1, 1),
        )
        self.decay, self.codes = decay, config.codes
        self.register_buffer("codebook", torch.zeros(config.codes, config.code_dim))
        self.register_buffer("code_sum", torch.zeros(config.codes, config.code_dim))
        self.register_buffer("code_count", torch.zeros(config.codes))

    @torch.no_grad()
    def update(self, x: Tensor, index: Tensor) -> Tensor:
        onehot = torch.zeros(self.codes, len(x))
        onehot.scatter_(0, index.view(1, len(x)), 1)
        code_sum, code_count = onehot @ x, onehot.sum(-1)
        drawn = x[torch.randperm(len(x))[: self.codes]]
        self.code_sum = self.decay * self.code_sum + (1.0 - self.decay) * code_sum
        self.code_count = self.decay * self.code_count + (1.0 - self.decay) * code_count
        used = (self.code_count.view(self.codes, 1) >= 1.0).float()
        mean = self.code_sum / self.code_count.view(self.codes, 1)
        self.codebook = used * mean + (1 - used) * drawn
        share = code_count / code_count.sum()
        return torch.exp(-(share * torch.log(share + 1e-7)).sum())

    def forward(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.encoder(motion.permute(0, 2, 1))
        B, C, S = latents.shape
        x = latents.permute(0, 2, 1).contiguous().view(-1, C)
        book = self.codebook.t()
        distance = (x**2).sum(-1, keepdim=True) - 2 * x @ book + (book**2).sum(0, keepdim=True)
        _, index = distance.min(-1)
        chosen = F.embedding(index, self.codebook)
        self.update(x, index)
        commit = F.mse_loss(x, chosen.detach())
        chosen = (x + (chosen - x).detach()).view(B, S, C).permute(0, 2, 1).contiguous()
        return self.decoder(chosen).permute(0, 2, 1), commit

    @classmethod
    def of(cls, vqvae: VQVAE) -> "Peer":
        """The same network with the same weights and the same codebook."""
        peer = cls(vqvae.config)
        with torch.no_grad():
            for mine, other in zip(ordered(vqvae), peer.parameters(), strict=True):
                other.copy_(mine)
        peer.codebook.copy_(vqvae.quantizer.codebook)
        return peer


def ordered(model: VQVAE) -> Iterator[nn.Parameter]:
    """Our parameters in the order of the public code's layers."""
    encoder, decoder = model.encoder, model.decoder
    yield from encoder.conv_in.parameters()
    for down, stack in zip(encoder.downs, encoder.stacks, strict=True):
        yield from (*down.parameters(), *stack.parameters())
    yield from (*encoder.conv_out.parameters(), *decoder.conv_in.parameters())
    for stack, up in zip(decoder.stacks, decoder.ups, strict=True):
        yield from (*stack.parameters(), *up.parameters())
    yield from (*decoder.conv_mid.parameters(), *decoder.conv_out.parameters())


def fill_codebook(vqvae: VQVAE, motion: Tensor) -> None:
    """Make the codebook of latents of motion (B, F, D), each in use so often that none is drawn anew at once."""
    quantizer = vqvae.quantizer
    with torch.no_grad():
        latents = vqvae.latents(motion, None).flatten(0, 1)
    rows = latents[torch.randperm(vqvae.config.codes) % len(latents)]
    quantizer.codebook.copy_(rows)
    quantizer.code_sum.copy_(4 * rows)
    quantizer.code_count.fill_(4)
    quantizer.ready.fill_(True)


# 2) A step of each.

Step = Callable[[dict], float]


def our_step(model: VQVAE, precision: str, config: TrainConfig) -> Step:
    """What `loops.train` does with a batch."""
    optimizer = make_optimizer(model, config)
    device = torch.device("cpu")

    def step(batch: dict) -> float:
        with autocast(precision, device):
            total, _, _ = model.loss(batch["motion"], batch["lengths"])
        loss = total / batch["count"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def their_step(peer: Peer, config: VQVAEConfig, train: TrainConfig) -> Step:
    optimizer = torch.optim.AdamW(peer.parameters(), lr=train.lr, betas=(train.beta1, train.beta2), weight_decay=0.0)

    def step(batch: dict) -> float:
        motion = batch["motion"]
        decoded, commit = peer(motion)
        error = F.smooth_l1_loss(decoded, motion)
        joints = F.smooth_l1_loss(decoded[..., 4 : 4 + config.joint_dim], motion[..., 4 : 4 + config.joint_dim])
        loss = error + config.commit_weight * commit + config.joint_weight * joints
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(peer.parameters(), CLIP)
        optimizer.step()
        return loss.item()

    return step


# 3) Data, comparison, timing.


def windows(batch: int, frames: int, count: int) -> WindowBatches:
    """Windows of made-up motions in normalised features."""
    clips = [joints_to_features(clip.joints, HUMANML3D) for clip in generate_clips(count, 0)]
    clips = [clip for clip in clips if len(clip) >= frames]  # whole windows only: the peer knows no others
    normalizer = Normalizer.fit(clips, get_representation("humanml3d", HUMANML3D))
    return WindowBatches([normalizer.normalise(clip).astype("float32") for clip in clips], frames, batch, 0)


def main(args) -> None:
    torch.set_num_threads(args.threads)
    config = VQVAEConfig()
    train = TrainConfig(lr=2e-4, weight_decay=0.0)
    batches = windows(args.batch, 64, args.clips)
    batch = batches(0)
    models: dict[str, VQVAE] = {}
    precisions = ["fp32"]
    if "bf16" in (resolve_precision("auto", torch.device("cpu")), args.precision):
        precisions.append("bf16")
    torch.manual_seed(0)
    ours = VQVAE(config)
    fill_codebook(ours, batch["motion"])
    peer = Peer.of(ours)
    peer.code_sum.copy_(ours.quantizer.code_sum)
    peer.code_count.copy_(ours.quantizer.code_count)
    for precision in precisions:
        models[precision] = VQVAE(config)
        models[precision].load_state_dict(ours.state_dict())
    steps = {name: our_step(model, name, train) for name, model in models.items()}
    theirs = their_step(peer, config, train)

    first = {name: step(batch) for name, step in steps.items()} | {"peer": theirs(batch)}
    print("loss of the first step: " + ", ".join(f"{name} {loss:.6f}" for name, loss in first.items()))
    if abs(first["fp32"] - first["peer"]) > SAME * first["peer"]:
        raise RuntimeError("the two have other losses: it would not be the same work")
    for name, step in steps.items():
        times = in_turn(partial(step, batch), partial(theirs, batch), args.rounds)
        what = f"VQ-VAE step, 19.4 M parameters, {args.batch} x 64 frames, {name}, {args.threads} threads"
        must, aim = {"fp32": (1.1, None), "bf16": (3.0, 3.5)}[name]
        report(what, *times, "T2M-GPT's way, fp32", must=must, aim=aim)
    if args.curve:
        curves(args.curve, batches, precisions, config, train)


def curves(count: int, batches: WindowBatches, precisions: list[str], config: VQVAEConfig, train: TrainConfig) -> None:
    """Print the losses of `count` steps of our network, from the same start in each precision, on the same batches."""
    losses: dict[str, list[float]] = {}
    for name in precisions:
        torch.manual_seed(0)
        step = our_step(VQVAE(config), name, train)
        torch.manual_seed(1)  # of the rows that are drawn
        losses[name] = [step(batches(i)) for i in range(count)]
    print("step   " + "   ".join(f"{name:>8}" for name in losses))
    for i in (*range(0, count, max(1, count // 8)), count - 1):
        print(f"{i + 1:>4}   " + "   ".join(f"{losses[name][i]:8.5f}" for name in losses))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256, help="windows in a batch (default 256)")
    parser.add_argument("--clips", type=int, default=200, help="made-up motions (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, after one round of warm-up (default 3)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of PyTorch")
    parser.add_argument("--precision", choices=("auto", "bf16"), default="auto", help="bf16 even where it is slow")
    parser.add_argument("--curve", type=int, default=0, metavar="STEPS", help="compare the losses of so many steps too")
    main(parser.parse_args())
