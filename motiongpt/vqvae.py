"""The motion tokenizer: a convolutional VQ-VAE that writes four frames as one of N codes, and back.

The architecture is T2M-GPT's (Zhang et al. 2023, "Generating Human Motion from Textual Descriptions with
Discrete Representations"; behaviour of the public models/vqvae.py, encdec.py, quantize_cnn.py):

    motion (B, F, D)                                                            motion (B, 4S, D)
      | conv 3                                                    conv 3, relu, conv 3 |
      | [ conv 4 stride 2, residual dilations 9 3 1 ] x 2    [ residual 9 3 1, x2, conv 3 ] x 2
      | conv 3                                                            relu, conv 3 |
      latents (B, S, code_dim)  -->  nearest of N codebook rows  -->  codes (B, S) ----+

Two things differ, on purpose. All state of the quantiser, the flag of the first batch included, lives in
buffers, so training that resumes continues (the public code draws a new codebook). And clips of different
lengths share a batch without touching each other: every convolution wider than one frame sees zeros past a
clip's end, at every layer, as it does when the clip is alone.

Motion is `(B, F, D)` everywhere outside this file; the transposes for the convolutions are here.
It knows features, not joints: no skeleton, no normalisation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import VQVAEConfig


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths -> (B, size) bool, True where real: length_mask([2, 3], 3) = [[T, T, F], [T, T, T]]."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def channel_mask(lengths: Tensor | None, size: int) -> Tensor | None:
    """The (B, 1, size) factor for (B, C, size); None without lengths, where there is nothing to hide."""
    return None if lengths is None else length_mask(lengths, size)[:, None].float()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask.to(x.dtype)


class ResidualBlock(nn.Module):
    """x + conv1(relu(dilated conv3(relu(x)))); the 3-wide convolution is the one that must not see padding."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, C, F)
        return x + self.conv2(F.relu(self.conv1(masked(F.relu(x), mask))))


class ResidualStack(nn.Module):
    """Residual blocks from the widest dilation to the narrowest, as T2M-GPT orders them: 9, 3, 1."""

    def __init__(self, width: int, depth: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width, growth**i) for i in reversed(range(depth)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


class Encoder(nn.Module):
    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(config.feature_dim, config.width, 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv1d(config.width, config.width, 4, 2, 1) for _ in range(config.down))
        self.stacks = nn.ModuleList(
            ResidualStack(config.width, config.depth, config.dilation_growth) for _ in range(config.down)
        )
        self.conv_out = nn.Conv1d(config.width, config.code_dim, 3, padding=1)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:  # (B, D, F) -> (B, code_dim, S)
        mask = channel_mask(lengths, x.shape[-1])
        x = F.relu(self.conv_in(masked(x, mask)))
        for down, stack in zip(self.downs, self.stacks, strict=True):
            x = down(masked(x, mask))
            lengths = None if lengths is None else lengths // 2  # a stride-2 window past the end is not a frame
            mask = channel_mask(lengths, x.shape[-1])
            x = stack(x, mask)
        return self.conv_out(masked(x, mask))


class Decoder(nn.Module):
    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(config.code_dim, config.width, 3, padding=1)
        self.stacks = nn.ModuleList(
            ResidualStack(config.width, config.depth, config.dilation_growth) for _ in range(config.down)
        )
        self.ups = nn.ModuleList(nn.Conv1d(config.width, config.width, 3, padding=1) for _ in range(config.down))
        self.conv_mid = nn.Conv1d(config.width, config.width, 3, padding=1)
        self.conv_out = nn.Conv1d(config.width, config.feature_dim, 3, padding=1)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:  # (B, code_dim, S) -> (B, D, 4 S)
        mask = channel_mask(lengths, x.shape[-1])
        x = F.relu(self.conv_in(masked(x, mask)))
        for stack, up in zip(self.stacks, self.ups, strict=True):
            x = F.interpolate(stack(x, mask), scale_factor=2, mode="nearest")
            lengths = None if lengths is None else lengths * 2
            mask = channel_mask(lengths, x.shape[-1])
            x = up(masked(x, mask))
        x = F.relu(self.conv_mid(masked(x, mask)))
        return masked(self.conv_out(masked(x, mask)), mask)


class EMAQuantizer(nn.Module):
    """Nearest codebook row, learned by moving averages; unused rows are replaced from the batch.

    The rule is T2M-GPT's QuantizeEMAReset: counts and sums decay by `ema_decay`, a row is sum / count, and a
    row whose moving count is below `dead_below` (1 there) is drawn anew from the batch's latents; the count
    scales with the batch, so small batches want a smaller threshold. `code_sum`, `code_count` and
    `ready` (the codebook has seen its first batch) are buffers beside `codebook`: they are the state.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.decay, self.dead_below = config.ema_decay, config.dead_below
        self.register_buffer("codebook", torch.zeros(config.codes, config.code_dim))
        self.register_buffer("code_sum", torch.zeros(config.codes, config.code_dim))
        self.register_buffer("code_count", torch.zeros(config.codes))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def nearest(self, latents: Tensor) -> Tensor:
        """(n, code_dim) -> (n,) index of the closest row. |x - e|^2 = |x|^2 - 2 x.e + |e|^2, |x|^2 being constant."""
        book = self.codebook
        return (book.square().sum(-1) - 2 * latents @ book.T).argmin(-1)

    def sample_rows(self, latents: Tensor) -> Tensor:
        """N rows drawn from the batch; a batch smaller than the codebook is tiled with a little noise.

        The one place of the library that draws from torch's global generator: the loop seeds it, and saves it with
        the state.
        """
        N, C = self.codebook.shape
        if len(latents) < N:
            latents = latents.repeat(-(-N // len(latents)), 1)
            latents = latents + torch.randn_like(latents) * (0.01 / C**0.5)
        return latents[torch.randperm(len(latents), device=latents.device)[:N]]

    @torch.no_grad()
    def update(self, latents: Tensor, codes: Tensor) -> Tensor:
        """One moving-average step from the batch's (n, code_dim) latents; returns how many dead rows were reset, ()."""
        count = torch.zeros_like(self.code_count).index_add_(0, codes, latents.new_ones(len(codes)))
        total = torch.zeros_like(self.code_sum).index_add_(0, codes, latents)
        self.code_sum.mul_(self.decay).add_(total, alpha=1 - self.decay)
        self.code_count.mul_(self.decay).add_(count, alpha=1 - self.decay)
        alive = (self.code_count >= self.dead_below)[:, None]
        mean = self.code_sum / self.code_count.clamp(min=1e-9)[:, None]
        self.codebook.copy_(torch.where(alive, mean, self.sample_rows(latents)))
        return (~alive).sum()

    def forward(self, latents: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, S, code_dim) -> quantised with a straight-through gradient, codes (B, S) with -1 for padding,
        the commitment loss summed over real codes, and the number of codebook rows reset."""
        with torch.autocast(latents.device.type, enabled=False):  # distances and averages need fp32
            latents = latents.float()
            real = latents[mask] if mask is not None else latents.flatten(0, 1)  # (n, code_dim)
            # one NaN latent would stay in the moving averages for good: the loop skips such a step, and so do they
            learning = self.training and bool(torch.isfinite(real).all())
            if learning and not self.ready:
                rows = self.sample_rows(real.detach())
                self.codebook.copy_(rows)
                self.code_sum.copy_(rows)
                self.code_count.fill_(1.0)
                self.ready.fill_(True)
            index = self.nearest(real.detach())
            chosen = self.codebook[index]
            resets = self.update(real.detach(), index) if learning else torch.zeros((), dtype=torch.long)
            commit = (real - chosen).square().mean(-1).sum()
            if mask is None:
                codes, quantised = index.view(latents.shape[:2]), chosen.view_as(latents)
            else:
                codes = torch.full(mask.shape, -1, device=index.device).masked_scatter(mask, index)
                quantised = torch.zeros_like(latents).masked_scatter(mask[..., None], chosen)
            return latents + (quantised - latents).detach(), codes, commit, resets


class VQVAE(nn.Module):
    """Motion features to codes and back.

    `forward` trains; `encode` and `decode` are what everyone else calls. Motions are normalised.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantizer = EMAQuantizer(config)

    def latents(self, motion: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, F, D) -> (B, F // 4, code_dim). Raises ValueError for another width."""
        if motion.ndim != 3 or motion.shape[-1] != self.config.feature_dim:
            raise ValueError(
                f"motion must be (B, F, {self.config.feature_dim}) for this tokenizer, got {tuple(motion.shape)}"
            )
        if motion.shape[1] < self.config.frames_per_code:  # no code, and too short for a convolution
            return motion.new_zeros(len(motion), 0, self.config.code_dim)
        return self.encoder(motion.transpose(1, 2), lengths).transpose(1, 2)

    def forward(self, motion: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """One training pass over (B, F, D) with F a multiple of 4.

        Returns `motion` (B, F, D), `codes` (B, S), `commit` (sum over real codes), `resets` ().
        """
        if motion.shape[1] == 0 or motion.shape[1] % self.config.frames_per_code:
            raise ValueError(
                f"training takes windows of a multiple of {self.config.frames_per_code} frames, got {motion.shape[1]}; "
                "pad them and give lengths"
            )
        latents = self.latents(motion, lengths)
        S = latents.shape[1]
        code_lengths = None if lengths is None else lengths // self.config.frames_per_code
        mask = None if code_lengths is None else length_mask(code_lengths, S)
        quantised, codes, commit, resets = self.quantizer(latents, mask)
        decoded = self.decoder(quantised.transpose(1, 2), code_lengths).transpose(1, 2)
        return {"motion": decoded, "codes": codes, "commit": commit, "resets": resets}

    @torch.no_grad()
    def encode(self, motion: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, F, D) normalised, lengths (B,) in frames -> codes (B, S), -1 past a row's S = F // 4.

        fp32 whatever the surrounding autocast, and without the TF32 that cuDNN takes by default: fewer bits flip
        codes whose two nearest rows nearly tie.
        """
        cudnn = torch.backends.cudnn
        exact = cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False)
        with torch.autocast(motion.device.type, enabled=False), exact:
            latents = self.latents(motion.float(), lengths).float()
            codes = self.quantizer.nearest(latents.flatten(0, 1)).view(latents.shape[:2])
        if lengths is None:
            return codes
        return codes.masked_fill(~length_mask(lengths // self.config.frames_per_code, codes.shape[1]), -1)

    @torch.no_grad()
    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """codes (B, S), lengths (B,) in codes -> motion (B, 4 S, D), zeros past a row's end.

        Raises ValueError for a real code outside 0 .. N - 1.
        """
        N = self.config.codes
        real = codes if lengths is None else codes[length_mask(lengths, codes.shape[1])]
        if real.numel() and (int(real.min()) < 0 or int(real.max()) >= N):
            bad = int(real.min()) if int(real.min()) < 0 else int(real.max())
            raise ValueError(f"motion code {bad} is outside this tokenizer's codebook of {N} (0 to {N - 1})")
        if codes.shape[1] == 0:
            return self.quantizer.codebook.new_zeros(len(codes), 0, self.config.feature_dim)
        quantised = self.quantizer.codebook[codes.clamp(0, N - 1)]
        return self.decoder(quantised.transpose(1, 2), lengths).transpose(1, 2)

    def loss(self, motion: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """T2M-GPT's loss as (sum over real frames, number of real frames, what `forward` returned).

        smooth-L1 on all features + joint_weight x smooth-L1 on the joint positions (features 4:4+joint_dim;
        T2M-GPT calls this the velocity loss) + commit_weight x commitment, each a mean over its elements.
        """
        config, per_code = self.config, self.config.frames_per_code
        out = self(motion, lengths)
        coded = None if lengths is None else lengths // per_code * per_code  # frames past the last whole code
        error = F.smooth_l1_loss(out["motion"].float(), motion.float(), reduction="none")
        if coded is not None:
            error = error * length_mask(coded, motion.shape[1])[..., None]
        total = error.mean(-1).sum() + config.commit_weight * per_code * out["commit"]
        if config.joint_dim:
            total = total + config.joint_weight * error[..., 4 : 4 + config.joint_dim].mean(-1).sum()
        B, frames = motion.shape[:2]
        count = coded.sum() if coded is not None else torch.tensor(B * frames, device=motion.device)
        return total, count, out
