"""The motion tokenizer: a convolutional VQ-VAE that writes four frames as one of N codes, and back.

The architecture is T2M-GPT's (Zhang et al. 2023, "Generating Human Motion from Textual Descriptions with
Discrete Representations"; behaviour of the public models/vqvae.py, encdec.py, quantize_cnn.py):

    motion (B, F, D)                                                            motion (B, 4S, D)
      | conv 3                                                    conv 3, relu, conv 3 |
      | [ conv 4 stride 2, residual dilations 9 3 1 ] x 2    [ residual 9 3 1, x2, conv 3 ] x 2
      | conv 3                                                            relu, conv 3 |
      latents (B, S, code_dim)  -->  nearest of N codebook rows  -->  codes (B, S) ----+

The quantiser in the middle is one of `quantizers.py`. Two things differ from the public code, on purpose. All state of
the quantiser, its first-batch flag included, lives in buffers, so a resumed run continues (the public code draws a new
codebook). And clips of different lengths share a batch without influencing each other: at every layer, a convolution
wider than one frame sees zeros past a clip's end, exactly as if the clip were alone.

With `config.causal`, every convolution sees only the past: frame f depends on codes up to f // 4, and code s on the
frames before 4 (s + 1). Then motion is decoded while its codes arrive, frame by frame (`generation/streaming.py`).
Only where the zeros are put differs, so both kinds have the same tensors.

Motion is `(B, F, D)` everywhere outside this file; the transposes for the convolutions are here. This file knows
features, not joints: no skeleton and no normalisation.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import VQVAEConfig
from motiongpt.kernels.convolution import Conv1d, doubled  # Conv1d is nn.Conv1d, faster on a CPU
from motiongpt.quantizers import make_quantizer

ExtraLoss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, dict[str, Tensor]]]
"""Decoded and true motion (B, F, D), coded frames (B,) or None -> weighted sum over frames (), its parts ()."""
LOSS_PARTS = ("reconstruction", "joints", "commitment")


def frame_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths -> (B, size) bool, True = real: frame_mask([2, 3], 3) = [[T, T, F], [T, T, T]]."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def channel_mask(lengths: Tensor | None, size: int) -> Tensor | None:
    """The (B, 1, size) factor that zeroes the padding of (B, C, size); None if there are no lengths."""
    return None if lengths is None else frame_mask(lengths, size)[:, None].float()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask.to(x.dtype)


class CausalConv1d(Conv1d):
    """A convolution with all its padding before the first frame: an output depends on no later input.

    An output of a stride takes its whole stride as the present: with stride 2, output i sees up to input 2 i + 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, dilation)
        self.left = 2 * padding  # of both sides

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.left, 0)))


def convolution(
    config: VQVAEConfig, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Conv1d:
    """(B, inputs, F) -> (B, outputs, F // stride), with zeros on both sides of the clip, or before it if causal."""
    padding = (dilation * (kernel - 1) + 1 - stride) // 2  # on each side
    kind = CausalConv1d if config.causal else Conv1d
    return kind(inputs, outputs, kernel, stride, padding, dilation)


class ResidualBlock(nn.Module):
    """x + conv1(relu(dilated conv3(relu(x)))). Only the 3-wide convolution could see padding, so its input is masked.

    `config.activation` replaces the relu here. Outside these blocks, every public model uses relu.
    """

    def __init__(self, config: VQVAEConfig, dilation: int) -> None:
        super().__init__()
        self.conv1 = convolution(config, config.width, config.width, dilation=dilation)
        self.conv2 = Conv1d(config.width, config.width, 1)
        self.activation = getattr(F, config.activation)  # one of config.ACTIVATIONS
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, C, F)
        hidden = self.activation(self.conv1(masked(self.activation(x), mask)))
        return x + self.dropout(self.conv2(hidden))


class ResidualStack(nn.Module):
    """Residual blocks from the widest dilation to the narrowest, in T2M-GPT's order: 9, 3, 1."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        growth, depth = config.dilation_growth, config.depth
        self.blocks = nn.ModuleList(ResidualBlock(config, growth**i) for i in reversed(range(depth)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, mask)
        return x


class Encoder(nn.Module):
    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.conv_in = convolution(config, config.feature_dim, config.width)
        self.downs = nn.ModuleList(convolution(config, config.width, config.width, 4, 2) for _ in range(config.down))
        self.stacks = nn.ModuleList(ResidualStack(config) for _ in range(config.down))
        self.conv_out = convolution(config, config.width, config.code_dim)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:  # (B, D, F) -> (B, code_dim, S)
        mask = channel_mask(lengths, x.shape[-1])
        x = F.relu(self.conv_in(masked(x, mask)))
        for down, stack in zip(self.downs, self.stacks, strict=True):
            x = down(masked(x, mask))
            lengths = None if lengths is None else lengths // 2  # an odd last frame is dropped
            mask = channel_mask(lengths, x.shape[-1])
            x = stack(x, mask)
        return self.conv_out(masked(x, mask))


class Decoder(nn.Module):
    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.conv_in = convolution(config, config.code_dim, config.width)
        self.causal = config.causal
        self.stacks = nn.ModuleList(ResidualStack(config) for _ in range(config.down))
        self.ups = nn.ModuleList(convolution(config, config.width, config.width) for _ in range(config.down))
        self.conv_mid = convolution(config, config.width, config.width)
        self.conv_out = convolution(config, config.width, config.feature_dim)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:  # (B, code_dim, S) -> (B, D, 4 S)
        mask = channel_mask(lengths, x.shape[-1])
        x = F.relu(self.conv_in(masked(x, mask)))
        for stack, up in zip(self.stacks, self.ups, strict=True):
            # up(every frame twice), in 2/3 of the products
            x = doubled(masked(stack(x, mask), mask), up.weight, up.bias, self.causal)
            lengths = None if lengths is None else lengths * 2
            mask = channel_mask(lengths, x.shape[-1])
        x = F.relu(self.conv_mid(masked(x, mask)))
        return masked(self.conv_out(masked(x, mask)), mask)


def decoder_reach(config: VQVAEConfig) -> tuple[int, int]:
    """How many codes before a code, and how many after it, its frames depend on: (22, 22) in T2M-GPT's shape.

    Causal: (44, 0). Follows the first and the last frame of a code through `Decoder`, from its end to its start.
    """
    past, future = (2, 0) if config.causal else (1, 1)  # inputs that a convolution of 3 sees on each side
    blocks = sum(config.dilation_growth**i for i in range(config.depth))

    def walk(frame: int, side: int) -> int:
        """The outermost code that `frame` depends on; `side` is -past or future."""
        frame += 2 * side  # conv_out, conv_mid
        for _ in range(config.down):
            frame = (frame + side) // 2 + blocks * side  # up, then the residual blocks at half the rate
        return frame + side  # conv_in

    return -walk(0, -past), walk(config.frames_per_code - 1, future)


class VQVAE(nn.Module):
    """Normalised motion features to codes and back.

    Training calls `loss`; everyone else calls `encode` and `decode`.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantizer = make_quantizer(config)

    def latents(self, motion: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, F, D) -> (B, F // 4, code_dim). Raises ValueError if D is not the configured width."""
        if motion.ndim != 3 or motion.shape[-1] != self.config.feature_dim:
            raise ValueError(
                f"motion must be (B, F, {self.config.feature_dim}) for this tokenizer, got {tuple(motion.shape)}"
            )
        if motion.shape[1] < self.config.frames_per_code:  # too short for one code, and for a convolution
            return motion.new_zeros(len(motion), 0, self.config.code_dim)
        return self.encoder(motion.transpose(1, 2), lengths).transpose(1, 2)

    def forward(self, motion: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """One training pass over (B, F, D), where F is a multiple of 4.

        Returns `motion` (B, F, D), `codes` (B, S) of the first layer, `commit` () summed over real codes, and the
        quantiser's `stats`, such as `resets` (). Raises ValueError for another F.
        """
        if motion.shape[1] == 0 or motion.shape[1] % self.config.frames_per_code:
            raise ValueError(
                f"training takes windows of a multiple of {self.config.frames_per_code} frames, got {motion.shape[1]}; "
                "pad them and give lengths"
            )
        latents = self.latents(motion, lengths)
        S = latents.shape[1]
        code_lengths = None if lengths is None else lengths // self.config.frames_per_code
        mask = None if code_lengths is None else frame_mask(code_lengths, S)
        quantised, codes, commit, stats = self.quantizer(latents, mask)
        decoded = self.decoder(quantised.transpose(1, 2), code_lengths).transpose(1, 2)
        return {"motion": decoded, "codes": codes[..., 0], "commit": commit, **stats}

    @torch.no_grad()
    def encode_all(self, motion: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, F, D) normalised, lengths (B,) in frames -> codes (B, S, Q) of all layers, -1 past a row's S = F // 4.

        It runs in fp32 under any autocast, and without the TF32 that cuDNN uses by default: with fewer bits, a latent
        nearly as close to a second row would get the wrong code.
        """
        cudnn = torch.backends.cudnn
        exact = cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False)
        with torch.autocast(motion.device.type, enabled=False), exact:
            latents = self.latents(motion.float(), lengths).float()
            codes = self.quantizer.indices(latents.flatten(0, 1))
            codes = codes.view(*latents.shape[:2], self.quantizer.num_layers)
        if lengths is None:
            return codes
        real = frame_mask(lengths // self.config.frames_per_code, codes.shape[1])
        return codes.masked_fill(~real[..., None], -1)

    def encode(self, motion: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The first layer of `encode_all`, codes (B, S). This is what a language model learns."""
        return self.encode_all(motion, lengths)[..., 0]

    @torch.no_grad()
    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """codes (B, S), lengths (B,) in codes -> motion (B, 4 S, D), zeros past a row's end.

        codes (B, S, q) are those of the first q layers of a residual quantiser; after the first layer, -1 skips a
        layer. Raises ValueError for a real code outside 0 .. N - 1, and for more layers than there are.
        """
        N, Q = self.config.codes, self.quantizer.num_layers
        codes = codes[..., None] if codes.ndim == 2 else codes  # (B, S, q)
        if not 1 <= codes.shape[-1] <= Q:
            raise ValueError(f"codes are of {codes.shape[-1]} layers, this tokenizer has {Q}")
        real = codes if lengths is None else codes[frame_mask(lengths, codes.shape[1])]
        if real.numel() and (int(real[..., 0].min()) < 0 or int(real.min()) < -1 or int(real.max()) >= N):
            bad = int(real.max()) if int(real.max()) >= N else int(real.min())
            raise ValueError(f"motion code {bad} is outside this tokenizer's codebook of {N} (0 to {N - 1})")
        if codes.shape[1] == 0:
            return self.decoder.conv_out.weight.new_zeros(len(codes), 0, self.config.feature_dim)
        first = codes[..., :1].clamp(0, N - 1)  # past a row's end a code may be anything
        quantised = self.quantizer.lookup(torch.cat((first, codes[..., 1:].clamp(-1, N - 1)), -1))
        return self.decoder(quantised.transpose(1, 2), lengths).transpose(1, 2)

    def loss(
        self, motion: Tensor, lengths: Tensor | None = None, extra: ExtraLoss | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """T2M-GPT's loss as (sum over real frames, number of real frames, output of `forward`).

        Per frame: smooth-L1 on all features + joint_weight x smooth-L1 on the joint positions (features 4:4+joint_dim;
        T2M-GPT calls this the velocity loss) + commit_weight x commitment, each a mean over its elements.

        `extra` adds losses that know joints.

        The output has these three too, per real frame and without weights or gradients, as `LOSS_PARTS` names them
        (`joints` only if there are such features).
        """
        config, per_code = self.config, self.config.frames_per_code
        out = self(motion, lengths)
        coded = None if lengths is None else lengths // per_code * per_code  # without frames past the last whole code
        error = F.smooth_l1_loss(out["motion"].float(), motion.float(), reduction="none")
        if coded is not None:
            error = error * frame_mask(coded, motion.shape[1])[..., None]
        # `commit` is a sum over codes and this one over frames: a code stands for per_code of them
        parts = {"reconstruction": error.mean(-1).sum(), "commitment": per_code * out["commit"]}
        total = parts["reconstruction"] + config.commit_weight * per_code * out["commit"]
        if config.joint_dim:
            parts["joints"] = error[..., 4 : 4 + config.joint_dim].mean(-1).sum()
            total = total + config.joint_weight * parts["joints"]
        if extra is not None:
            more, of_extra = extra(out["motion"].float(), motion.float(), coded)
            total = total + more
            parts |= of_extra
        B, frames = motion.shape[:2]
        count = coded.sum() if coded is not None else torch.tensor(B * frames, device=motion.device)
        return total, count, out | {name: part.detach() / count.clamp(min=1) for name, part in parts.items()}
