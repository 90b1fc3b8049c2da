"""The word tables of a language model: the rows of its checkpoint, and rows for new words beside them.

New words are not appended to the base table; they lie beside it:

    id   0 ............ first_id - 1 | first_id ........ first_id + count - 1        V = first_id + count
         input table (base)          | new_in (count, C)                             inputs
         input table or lm_head      | new_in or new_out (count, C)                  outputs, tied or untied

A padded base table has rows past the tokenizer's last token. Base rows from first_id on are never read. A tokenizer may
also have a few more tokens than the table has rows (Gemma 3 1B: one for pictures): those get new rows as well. `LLM`
and `T5` inherit this; what lies between embedding and logits is theirs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_GAP = 64  # so many tokens may lack a row in the table; with more, tokenizer and model do not belong together


class WordTables(nn.Module):
    """Ids to vectors and hidden states to logits. V is `vocab_size`, which `extend` changes.

    A subclass has the base tables: one called `input_table`, which it names in `INPUT`, and `lm_head`, which is None
    if the head is tied. An untied head is a table, not a Linear: `logits` multiplies spans of its rows, which an
    adapter would miss.
    """

    INPUT = "embed_tokens"
    """Name of the input table, as in the checkpoints of the family."""

    lm_head: nn.Embedding | None

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.first_id = rows
        self.checkpoint_activations = False
        self.register_parameter("new_in", None)
        self.register_parameter("new_out", None)

    @property
    def input_table(self) -> nn.Embedding:
        return getattr(self, self.INPUT)

    @property
    def vocab_size(self) -> int:
        """V, the number of ids: they run from 0 to V - 1."""
        return self.first_id + (0 if self.new_in is None else len(self.new_in))

    @torch.no_grad()
    def extend(
        self, first_id: int, count: int, generator: torch.Generator | None = None, from_base: bool = False
    ) -> None:
        """Add trainable fp32 rows for ids first_id .. first_id + count - 1; base rows from first_id on go unused.

        If first_id is a little past the base table, the ids between get rows too: the new rows then begin where the
        table ends, and so does `self.first_id`.

        New rows are drawn like the base rows before first_id: normal, with their mean and standard deviation per
        channel. Rows closer together than words are make the model learn first to tell them apart, which takes
        hundreds of steps. With `from_base` the new rows are copied from the base table at those ids, which inverts
        writing base and new rows as one table. Raises ValueError for an impossible range, or if the model has new
        rows already.
        """
        rows_in_base = len(self.input_table.weight)
        if self.new_in is not None:
            raise ValueError(
                f"the model already has {len(self.new_in)} new rows from id {self.first_id}; extend it once"
            )
        if not 0 < first_id <= rows_in_base + MAX_GAP or count < 1:
            raise ValueError(
                f"new rows need 1 <= first id <= {rows_in_base + MAX_GAP} (the base has {rows_in_base} rows) and a "
                f"count of at least 1, got first id {first_id}, count {count}"
            )
        if from_base and first_id + count > rows_in_base:
            raise ValueError(
                f"ids {first_id} to {first_id + count - 1} are not all in a base table of {rows_in_base} rows"
            )
        gap = max(0, first_id - rows_in_base)
        first_id, count = first_id - gap, count + gap

        def rows(table: nn.Embedding) -> nn.Parameter:
            if from_base:
                return nn.Parameter(table.weight[first_id : first_id + count].float().clone())
            base = table.weight[:first_id].float()  # (first_id, C)
            noise = torch.randn(count, base.shape[1], generator=generator).to(base.device)
            return nn.Parameter(base.mean(0) + base.std(0, correction=0) * noise)

        self.new_in = rows(self.input_table)
        self.new_out = None if self.lm_head is None else rows(self.lm_head)
        self.first_id = first_id

    @property
    def casts(self) -> bool:
        """Whether autocast is on where the model is."""
        return torch.is_autocast_enabled(self.input_table.weight.device.type)

    def compute_dtype(self) -> torch.dtype:
        """The dtype of the matrix products: autocast's if it is on, else the weights'."""
        table = self.input_table.weight
        return torch.get_autocast_dtype(table.device.type) if self.casts else table.dtype

    def recomputes(self, cache: object) -> bool:
        """Whether the blocks of this pass are computed again in the backward pass: in training, if it is asked for."""
        return self.checkpoint_activations and cache is None and torch.is_grad_enabled()

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, C). Both tables are indexed, neither is copied."""
        base = self.input_table.weight
        # what flows from block to block is fp32 under autocast, also where the table itself is kept in less
        dtype = torch.float32 if self.casts else base.dtype
        if self.new_in is None:
            return F.embedding(ids, base).to(dtype)
        new = ids - self.first_id  # (B, T), negative for ids of the base table
        is_new = new >= 0
        x = F.embedding(ids.masked_fill(is_new, 0), base).to(dtype)
        return torch.where(is_new[..., None], F.embedding(new.clamp(min=0), self.new_in).to(x.dtype), x)

    @property
    def head(self) -> tuple[nn.Parameter, nn.Parameter | None]:
        """The output tables: that of the base, and that of the new words."""
        tied = self.lm_head is None
        return (self.input_table.weight, self.new_in) if tied else (self.lm_head.weight, self.new_out)

    def head_parts(self, span: tuple[int, int] | None = None) -> list[tuple[tuple[int, int], nn.Parameter]]:
        """A span of ids, or all of V, cut where one output table ends: every part with the table that it is in."""
        first, last = (0, self.vocab_size) if span is None else span
        base, new = self.head
        parts = [((first, min(last, self.first_id)), base), ((max(first, self.first_id), last), new)]
        return [(part, table) for part, table in parts if part[0] < part[1]]

    def logits(self, hidden: Tensor, span: tuple[int, int] | None = None) -> Tensor:
        """Hidden states (..., C) -> logits (..., V), or with `span` = (first, last) those of ids first .. last - 1.

        Only rows of the span are read. Inside a motion they are a few hundred of 152,000.
        """
        first, last = (0, self.vocab_size) if span is None else span
        if not 0 <= first < last <= self.vocab_size:
            raise ValueError(f"span must be inside ids 0 to {self.vocab_size}, got {first} to {last}")
        base, new = self.head
        N = self.first_id
        # the span may lie in the base table, among the new rows, or across both
        if last <= N:
            return F.linear(hidden, base[first:last])
        new_logits = F.linear(hidden, new[max(first - N, 0) : last - N].to(hidden.dtype))
        if first >= N:
            return new_logits
        return torch.cat((F.linear(hidden, base[first:N]), new_logits), -1)
