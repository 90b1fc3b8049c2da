"""Latents to codes and back: three quantisers behind one interface.

    ema_reset   a codebook learned by moving averages; unused rows are drawn anew (T2M-GPT)
    fsq         no codebook: a few numbers per latent, each rounded to one of a few levels (Mentzer et al. 2023)
    residual    several codebooks, each coding what the ones before it left over (MoMask)

    forward(latents (B, S, C), mask (B, S) or None) -> quantised (B, S, C), codes (B, S, Q), commit (), stats
    indices(latents (n, C)) -> codes (n, Q)          lookup(codes (..., q)) -> (..., C), from the first q layers
    num_codes, num_layers: N and Q; Q is 1 except for `residual`

Codes are -1 in the padding, and `commit` is a sum over real codes. Whatever is learned without gradients lives in
buffers, so that a resumed run continues from it. Everything runs in fp32, under any autocast.

If several processes train, each has some rows of every batch. What is learnt without gradients, and every draw, is
that of the whole batch: all of them have the same buffers, which are those of one process with all rows.
"""

import math
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from motiongpt.config import VQVAEConfig
from motiongpt.metrics.tokens import perplexity

GRACE = 2.0  # times the least usage: a new row dies after 69 batches without use, at a decay of 0.99


def several() -> bool:
    """Whether several processes train."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def together(values: Tensor) -> Tensor:
    """The sum of `values` over the processes, in place."""
    if several():
        dist.all_reduce(values)
    return values


def of_first(drawn: Tensor) -> Tensor:
    """What the first process has drawn, in place."""
    if several():
        dist.broadcast(drawn, 0)
    return drawn


class Part(NamedTuple):
    """Where this process's latents are among those of the whole batch: `first` come before them, of `total`."""

    first: int
    total: int


class Quantizer(nn.Module):
    """What all quantisers share: only real latents are quantised, and each result goes back to its place."""

    stats = ("perplexity", "active", "resets")
    """Names of a forward pass's numbers: perplexity and number of the batch's codes (first layer), rows drawn anew."""
    num_codes: int
    num_layers = 1

    def forward(self, latents: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        with torch.autocast(latents.device.type, enabled=False):  # distances and averages need fp32
            latents = latents.float()
            real = latents[mask] if mask is not None else latents.flatten(0, 1)  # (n, C)
            chosen, index, commit, stats = self.quantise(real)
            if mask is None:
                return chosen.view_as(latents), index.view(*latents.shape[:2], -1), commit, stats
            quantised = torch.zeros_like(latents).masked_scatter(mask[..., None], chosen)
            codes = torch.full((*mask.shape, index.shape[-1]), -1, device=index.device)
            return quantised, codes.masked_scatter(mask[..., None], index), commit, stats

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """(n, C) -> rows (n, C) that pass gradients to the latents, codes (n, Q), commitment loss (), `stats`."""
        raise NotImplementedError

    def learning_part(self, latents: Tensor) -> Part | None:
        """The part that these latents (n, C) are, or None if averages may not move.

        A NaN latent, of any process, would stay in them for good; the loop skips such a step too.
        """
        if not self.training:
            return None
        rank, size = (dist.get_rank(), dist.get_world_size()) if several() else (0, 1)
        counts = torch.zeros(size + 1, device=latents.device)  # of latents, then of processes with a NaN
        counts[rank] = len(latents)
        counts[-1] = ~torch.isfinite(latents).all()
        *sizes, bad = map(int, together(counts).tolist())
        return Part(sum(sizes[:rank]), sum(sizes)) if sum(sizes) and not bad else None

    def usage(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) codes, -1 for none -> perplexity () and number of different codes (), in training of the whole batch."""
        counts = torch.zeros(self.num_codes + 1, device=codes.device)  # the first entry counts the -1
        counts = counts.index_add_(0, codes + 1, torch.ones_like(codes, dtype=counts.dtype))[1:]
        counts = together(counts) if self.training else counts
        return perplexity(counts), (counts > 0).sum()


class EMAQuantizer(Quantizer):
    """Nearest codebook row, learned by moving averages; unused rows are replaced from the batch.

    The rule is T2M-GPT's QuantizeEMAReset. Counts and sums decay by `ema_decay`, and a row is sum / count. A row whose
    moving count is below `dead_below` (1 in T2M-GPT) is drawn anew from the batch's latents. The count scales with the
    batch, so small batches want a smaller threshold.

    The state is `codebook`, `code_sum`, `code_count` and `ready` (the codebook has seen its first batch). All four are
    buffers: a state kept elsewhere is lost in a checkpoint, and the resumed run would draw a new codebook.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.num_codes = config.codes
        self.decay, self.dead_below, self.dead_share = config.ema_decay, config.dead_below, config.dead_share
        self.register_buffer("codebook", torch.zeros(config.codes, config.code_dim))
        self.register_buffer("code_sum", torch.zeros(config.codes, config.code_dim))
        self.register_buffer("code_count", torch.zeros(config.codes))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def nearest(self, latents: Tensor) -> Tensor:
        """(n, code_dim) -> (n,) index of the closest row, from |x - e|^2 = |x|^2 - 2 x.e + |e|^2 without |x|^2."""
        book = self.codebook
        return (book.square().sum(-1) - 2 * latents @ book.T).argmin(-1)

    def indices(self, latents: Tensor) -> Tensor:
        return self.nearest(latents)[:, None]

    def lookup(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[..., 0]]

    def sample_rows(self, latents: Tensor, part: Part) -> Tensor:
        """Draw N rows from the whole batch. A batch smaller than the codebook is repeated with a little noise.

        The draw uses torch's global generator, which the loop seeds.
        """
        N, C = self.codebook.shape
        repeats = -(-N // part.total)  # rounded up
        drawn = of_first(torch.randperm(repeats * part.total, device=latents.device)[:N]) % part.total
        # each process gives the rows that it has
        rows = latents.new_zeros(N, C)
        if len(latents):
            place = drawn - part.first
            own = (place >= 0) & (place < len(latents))
            rows = latents[place.clamp(0, len(latents) - 1)] * own[:, None]
        rows = together(rows)
        return rows if repeats == 1 else rows + of_first(torch.randn_like(rows)) * (0.01 / C**0.5)

    @torch.no_grad()
    def update(self, latents: Tensor, codes: Tensor, part: Part) -> Tensor:
        """One moving-average step from latents (n, code_dim); returns how many dead rows were drawn anew, ()."""
        count = torch.zeros_like(self.code_count).index_add_(0, codes, latents.new_ones(len(codes)))
        total = torch.zeros_like(self.code_sum).index_add_(0, codes, latents)
        self.code_sum.mul_(self.decay).add_(together(total), alpha=1 - self.decay)
        self.code_count.mul_(self.decay).add_(together(count), alpha=1 - self.decay)
        if self.dead_share:
            return self._redraw(latents, part)
        # every row is replaced by its mean, or by a latent of the batch if it is dead
        alive = (self.code_count >= self.dead_below)[:, None]
        mean = self.code_sum / self.code_count.clamp(min=1e-9)[:, None]
        self.codebook.copy_(torch.where(alive, mean, self.sample_rows(latents, part)))
        return (~alive).sum()

    def _redraw(self, latents: Tensor, part: Part) -> Tensor:
        """`update` by shares: dead rows start afresh, with some batches to prove themselves in; how many, ()."""
        least = self.dead_share * self.code_count.mean()
        dead = self.code_count < least
        fresh = self.sample_rows(latents, part)
        # without this a new row would carry the averages of its former places, and move back between them
        self.code_count.copy_(torch.where(dead, GRACE * least, self.code_count))
        self.code_sum.copy_(torch.where(dead[:, None], GRACE * least * fresh, self.code_sum))
        self.codebook.copy_(self.code_sum / self.code_count.clamp(min=1e-9)[:, None])
        return dead.sum()

    @torch.no_grad()
    def step(self, latents: Tensor, part: Part | None) -> tuple[Tensor, Tensor, Tensor]:
        """(n, code_dim) -> their rows (n, code_dim), their codes (n,), and how many rows were drawn anew, ().

        Without a `part` nothing is learnt.
        """
        if part is not None and not self.ready:  # the first batch fills the codebook
            rows = self.sample_rows(latents, part)
            self.codebook.copy_(rows)
            # by shares, rows of the first batch have to prove themselves as later ones do
            count = GRACE * self.dead_share * part.total / self.num_codes if self.dead_share else 1.0
            self.code_sum.copy_(rows * count)
            self.code_count.fill_(count)
            self.ready.fill_(True)
        index = self.nearest(latents)
        chosen = self.codebook[index]
        resets = torch.zeros((), dtype=torch.long) if part is None else self.update(latents, index, part)
        return chosen, index, resets

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        chosen, index, resets = self.step(latents.detach(), self.learning_part(latents))
        commit = (latents - chosen).square().mean(-1).sum()
        stats = dict(zip(self.stats, (*self.usage(index), resets), strict=True))
        # straight through: the value of `chosen`, the gradient of `latents`
        return latents + (chosen - latents).detach(), index[:, None], commit, stats


class ResidualQuantizer(Quantizer):
    """Residual quantisation (MoMask, Guo et al. 2023): layer k codes what layers 0 .. k - 1 left over.

    With probability `rvq_dropout` a training pass uses only the first 1 .. Q layers, a number drawn evenly. That makes
    the first layers carry as much as they can. The other layers neither learn nor count, and their codes are -1. The
    commitment loss is the mean over the layers used. With `shared`, all layers learn one codebook in turn.

    Training differs from the public models/vq/residual_vq.py in two ways: the latents get the decoder's gradient once
    instead of once per layer, and a latent takes its nearest row without Gumbel noise. MoMask's dropout inside the
    residual blocks is the field `dropout`.
    """

    stats = (*Quantizer.stats, "perplexity_all", "active_all", "resets_all")
    """perplexity_all is the mean over the layers used; active_all and resets_all are sums over them."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.num_codes, self.num_layers = config.codes, config.rvq_layers
        self.dropout = config.rvq_dropout
        books = 1 if config.rvq_codebooks == "shared" else config.rvq_layers
        self.layers = nn.ModuleList(EMAQuantizer(config) for _ in range(books))

    def layer(self, k: int) -> EMAQuantizer:
        return self.layers[k % len(self.layers)]

    @property
    def codebook(self) -> Tensor:
        """(N, C) of the first layer: the language model's codes are indices into it."""
        return self.layers[0].codebook

    def indices(self, latents: Tensor) -> Tensor:
        codes = []
        for k in range(self.num_layers):
            codes.append(self.layer(k).nearest(latents))
            latents = latents - self.layer(k).codebook[codes[-1]]
        return torch.stack(codes, -1)

    def lookup(self, codes: Tensor) -> Tensor:
        """(..., q) -> (..., C), the sum of the first q layers' rows; a code of -1 adds nothing."""
        total = 0
        for k, code in enumerate(codes.unbind(-1)):
            total = total + self.layer(k).codebook[code.clamp(min=0)] * (code >= 0)[..., None]
        return total

    def layers_used(self) -> int:
        """How many layers this pass uses: all, or in training sometimes fewer."""
        if not self.training or self.num_layers == 1 or not self.dropout:
            return self.num_layers
        fewer = torch.rand(()) < self.dropout
        used = torch.randint(1, self.num_layers + 1, ()) if fewer else torch.tensor(self.num_layers)
        return int(of_first(used))

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        part = self.learning_part(latents)
        used = self.layers_used()
        residual = latents
        quantised = torch.zeros_like(latents)
        commit = 0.0
        codes = []
        resets, usage = [], []
        for k in range(used):
            # a step sees no gradient: the codebook learns by averages, the encoder by `commit` and straight through
            chosen, index, new = self.layer(k).step(residual.detach(), part)
            commit = commit + (residual - chosen).square().mean(-1).sum() / used
            quantised = quantised + chosen
            residual = residual - chosen
            codes.append(index)
            resets.append(new)
            usage.append(self.usage(index))
        codes += [torch.full_like(codes[0], -1)] * (self.num_layers - used)

        # numbers to report: of the first layer, then over all layers used
        perplexities, actives = (torch.stack(values) for values in zip(*usage, strict=True))
        totals = (perplexities.mean(), actives.sum(), torch.stack(resets).sum())
        stats = dict(zip(self.stats, (*usage[0], resets[0], *totals), strict=True))
        return latents + (quantised - latents).detach(), torch.stack(codes, -1), commit, stats


class FSQuantizer(Quantizer):
    """Finite scalar quantisation (Mentzer et al. 2023, "VQ-VAE Made Simple", appendix A.1).

    A latent is projected to d numbers. Number i is squashed and rounded to one of levels[i] values in [-1, 1], and the
    d values are projected back. The codebook is the set of their combinations: code = sum of digit_i x basis_i, with
    basis (1, L_1, L_1 L_2, ...). Rounding passes gradients straight through, so there is no commitment loss, no
    average and no dead row. The projections are ordinary parameters, and there are no buffers.
    """

    EPS = 1e-3  # keeps tanh's limits inside the outermost levels

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.levels, self.num_codes = config.levels, config.codes
        self.basis = tuple(math.prod(self.levels[:i]) for i in range(len(self.levels)))
        self.project_in = nn.Linear(config.code_dim, len(self.levels))
        self.project_out = nn.Linear(len(self.levels), config.code_dim)

    def bound(self, z: Tensor) -> Tensor:
        """(..., d) -> numbers that round to one of L_i integers, -(L // 2) .. (L - 1) // 2."""
        levels = z.new_tensor(self.levels)
        half = (levels - 1) * (1 - self.EPS) / 2
        offset = 0.5 * (levels % 2 == 0)  # with an even number of levels, none is in the middle
        return torch.tanh(z + torch.tan(offset / half)) * half - offset

    def round(self, z: Tensor) -> Tensor:
        """(..., d) -> the chosen levels in [-1, 1], with the gradient of `bound` (straight through the rounding)."""
        bounded = self.bound(z)
        return (bounded + (bounded.round() - bounded).detach()) / (z.new_tensor(self.levels) // 2)

    def to_code(self, values: Tensor) -> Tensor:
        """(..., d) levels in [-1, 1] -> (...) codes. Inverse of `to_values`."""
        half = values.new_tensor(self.levels) // 2
        digits = (values * half + half).nan_to_num().round().long()  # a NaN has no code; the loop skips its NaN loss
        return (digits * digits.new_tensor(self.basis)).sum(-1)

    def to_values(self, codes: Tensor) -> Tensor:
        """(...) codes -> (..., d) levels in [-1, 1]. Inverse of `to_code`."""
        levels = codes.new_tensor(self.levels)
        digits = codes[..., None] // codes.new_tensor(self.basis) % levels
        return (digits - levels // 2) / (levels // 2)

    @property
    def codebook(self) -> Tensor:
        """(N, C): every combination of levels, projected. It is computed at each access."""
        return self.lookup(torch.arange(self.num_codes, device=self.project_out.weight.device)[:, None])

    def indices(self, latents: Tensor) -> Tensor:
        return self.to_code(self.round(self.project_in(latents)))[:, None]

    def lookup(self, codes: Tensor) -> Tensor:
        return self.project_out(self.to_values(codes[..., 0]).to(self.project_out.weight.dtype))

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        values = self.round(self.project_in(latents))
        index = self.to_code(values.detach())
        none = latents.new_zeros(())
        stats = dict(zip(self.stats, (*self.usage(index), none), strict=True))
        return self.project_out(values), index[:, None], none, stats


def make_quantizer(config: VQVAEConfig) -> Quantizer:
    """The quantiser that `config.quantizer` names."""
    classes = {"ema_reset": EMAQuantizer, "fsq": FSQuantizer, "residual": ResidualQuantizer}
    return classes[config.quantizer](config)
