"""Language modelling batches: windows of a long array of tokens, packed end to end, without padding.

An epoch shifts all windows by one random offset and shuffles them. Both are a pure function of (seed, epoch), and the
masks of one of (seed, epoch, batch): iteration resumes exactly at any batch.

Shapes: n tokens in all, B windows a batch, T tokens a window, M predicted tokens a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlkit.annotations import Count, Fraction
from dlkit.data.batch import Batch, CausalBatch, MaskedBatch
from dlkit.data.epochs import Epochs, mixed_seed
from dlkit.data.text.token_ids import Tokens
from dlkit.errors import DlkitError

_ON_DEVICE = 1 << 30  # bytes of tokens that are kept on the device
_ITSELF, _PADDING = -1, -2  # in place of the id of a token to show
IGNORED = -100  # the target of a token that does not count, as in torch's cross_entropy


class TokenWindows(Epochs):
    """Windows for causal language modelling, as `CausalBatch`es.

    In evaluation each token is predicted once: windows begin every `stride` tokens, and the targets that an earlier
    window predicted are `IGNORED`; the last window ends with the text.

    Args:
        batch_size: windows a batch.
        context: tokens a window; a shorter text makes a shorter window.
        stride: tokens between two windows in evaluation; null for context. Less gives tokens more to look back on.

    Raises:
        DlkitError: fewer than two tokens.
    """

    def __init__(
        self,
        tokens: Tokens,
        device: torch.device,
        seed: int,
        training: bool,
        *,
        batch_size: Count = 16,
        context: Count = 256,
        stride: Count | None = None,
    ) -> None:
        self.device, self.seed, self.training = device, seed, training
        self._begin(tokens, context, 1)
        self.stride = min(stride or self.window, self.window)
        whole = (len(tokens) - 1) // self.window
        if training:
            # with one window less, the offset can take any value from 0 to T - 1 and more
            self.samples = whole - 1 if whole > 8 else whole
        else:
            self.samples = 1 + -(-(len(tokens) - 1 - self.window) // self.stride)
        self.batch_size = min(batch_size, self.samples)

    def _begin(self, tokens: Tokens, context: int, ahead: int) -> None:
        """Keep the tokens; windows take `ahead` more than they show."""
        if len(tokens) <= ahead:
            raise DlkitError(f"a text of {len(tokens)} tokens is too short: there is nothing to predict")
        self.window = min(context, len(tokens) - ahead)
        self._length, self._span = len(tokens), self.window + ahead
        self._host = tokens
        self._mapped = tokens.nbytes * 2 > _ON_DEVICE
        if not self._mapped:
            self._tokens = torch.from_numpy(tokens.astype(np.int32)).to(self.device)
        self._steps = torch.arange(self._span, device=self.device)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`, `start` + 1, ... of epoch `number`, on the device."""
        begins = self._begins(number)  # (samples,)
        for batch in range(start, len(self)):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield self._make(begins[rows], number, batch, rows)

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[Batch]:
        if self._mapped:
            yield from Epochs.side_by_side(self, sources, number, start)
            return
        begins, count = self.laid_out([source._begins(number) for source in sources]), len(sources)  # (S samples,)
        for begin in self.begins(start):
            size = min(self.batch_size, self.samples - begin)
            chosen = begins[count * begin : count * (begin + size)]
            windows = self._tokens[chosen[:, None] + self._steps].long().unflatten(0, (count, size))  # (S, B, span)
            yield CausalBatch(windows[..., :-1], windows[..., 1:].flatten(1))

    def _begins(self, number: int) -> Tensor:
        """Where the windows of an epoch begin, (samples,), on the CPU."""
        if not self.training:
            return (torch.arange(self.samples) * self.stride).clamp(max=self._length - self._span)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, number))
        slack = self._length - self._span - (self.samples - 1) * self.window
        offset = torch.randint(slack + 1, (), generator=generator)
        return offset + self.window * torch.randperm(self.samples, generator=generator)

    def _take(self, begins: Tensor) -> Tensor:
        """The windows that begin there, (B, span) int64, on the device."""
        if self._mapped:
            return self.send(self._on_host(begins))
        return self._tokens[self.send(begins)[:, None] + self._steps].long()

    def _on_host(self, begins: Tensor) -> Tensor:
        """The same in the host's memory."""
        positions = begins.numpy()[:, None] + np.arange(self._span)
        return torch.from_numpy(self._host[positions].astype(np.int64))

    def _make(self, begins: Tensor, number: int, batch: int, rows: slice) -> Batch:
        windows = self._take(begins)
        token_ids, targets = windows[:, :-1], windows[:, 1:]
        if not self.training and (self.stride < self.window or rows.stop >= self.samples):
            targets = targets.clone()
            all_begins = self._begins(0)
            for row, index in enumerate(range(rows.start, min(rows.stop, self.samples))):
                if index:  # the window before has predicted so many of these
                    done = int(all_begins[index - 1]) + self.window - int(all_begins[index])
                    targets[row, :done] = IGNORED
        return CausalBatch(token_ids, targets.reshape(-1))


@dataclass(frozen=True)
class Special:
    """What masking needs to know of a vocabulary of `size` tokens.

    Args:
        first: id of [CLS].
        last: id of [SEP].
        mask: id of [MASK].
        size: of the vocabulary.
        continues: (size,) bool: which tokens continue a word.
    """

    first: int
    last: int
    mask: int
    size: int
    continues: NDArray[np.bool_]


class MaskedWindows(TokenWindows):
    """Windows for masked language modelling, as `MaskedBatch`es.

    With whole words, M varies from batch to batch on a CPU. Elsewhere a new shape costs more (memory, a compiled model)
    than some padding, so that all batches are padded to one shape there.

    Devlin et al., arXiv:1810.04805, section 3.1: of the tokens of a window, 15 % are to be predicted; of these 80 % are
    replaced by [MASK], 10 % by a random token, and 10 % stay. The masks are drawn anew in each epoch of training
    (Liu et al., arXiv:1907.11692) and are always the same in evaluation.

    Args:
        batch_size: windows a batch.
        context: tokens a window, [CLS] and [SEP] included.
        mask: share of the tokens that are predicted.
        whole_words: choose words with all their pieces instead of single pieces.
    """

    def __init__(
        self,
        tokens: Tokens,
        device: torch.device,
        seed: int,
        training: bool,
        special: Special,
        *,
        batch_size: Count = 16,
        context: Count = 128,
        mask: Fraction = 0.15,
        whole_words: bool = False,
    ) -> None:
        self.device, self.seed, self.training = device, seed, training
        self.special, self.mask, self.whole_words = special, mask, whole_words
        if context < 3:
            raise DlkitError(f"a window of {context} tokens has no room between [CLS] and [SEP]")
        self._begin(tokens, context - 2, 0)
        self.stride = self.window
        whole = len(tokens) // self.window
        self.samples = (whole - 1 if whole > 8 else whole) if training else -(-len(tokens) // self.window)
        self.batch_size = min(batch_size, self.samples)
        self._continues = torch.from_numpy(special.continues)
        self.padded = whole_words and device.type != "cpu"

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[Batch]:
        return Epochs.side_by_side(self, sources, number, start)

    def _make(self, begins: Tensor, number: int, batch: int, rows: slice) -> Batch:
        special, device = self.special, self.device
        generator = torch.Generator().manual_seed(mixed_seed(self.seed if self.training else 0, number, batch))
        windows = self._take(begins)  # (B, T - 2)
        # the random choices, and all that follows from them, are made on the CPU: no shape waits for the device
        row, column = self._choose(begins, generator)  # (M,), (M,)
        positions = row * (windows.shape[1] + 2) + column + 1  # (M,)
        draw = torch.rand(len(row), generator=generator)
        noise = torch.randint(special.size, (len(row),), generator=generator)
        # 80 % [MASK], 10 % any token, 10 % itself
        shown = torch.where(draw < 0.8, special.mask, torch.where(draw < 0.9, noise, _ITSELF))
        if self.padded:
            size = len(windows) * self._wanted(windows.shape[1])
            rest = -len(row) % size  # a word longer than all that is wanted makes more than `size`
            positions, shown = F.pad(positions, (0, rest)), F.pad(shown, (0, rest), value=_PADDING)
        positions, shown = self.send(torch.stack((positions, shown))).unbind()
        edge = torch.full((len(windows), 1), special.first, device=device)
        whole = torch.cat((edge, windows, torch.full_like(edge, special.last)), 1)  # (B, T)
        flat = whole.flatten()
        targets = flat.index_select(0, positions)
        token_ids = flat.index_copy(0, positions, torch.where(shown < 0, targets, shown)).view_as(whole)
        if self.padded:
            targets = targets.masked_fill(shown == _PADDING, IGNORED)
            return MaskedBatch(token_ids, targets, positions, len(row))
        return MaskedBatch(token_ids, targets, positions)

    def _wanted(self, length: int) -> int:
        """How many of so many tokens are to be predicted."""
        return max(1, round(self.mask * length))

    def _choose(self, begins: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and columns of the chosen tokens among (B, T - 2), each (M,), in order and on the CPU: the same number
        in each row, or as many whole words as do not exceed it."""
        rows, length = len(begins), self._span
        wanted = self._wanted(length)
        score = torch.rand(rows, length, generator=generator)
        if not self.whole_words:
            column = score.argsort(1)[:, :wanted].sort(1).values  # (B, wanted)
            return torch.arange(rows).repeat_interleave(wanted), column.flatten()
        opens = ~self._continues[self._on_host(begins)]
        opens[:, 0] = True
        word = opens.cumsum(1) - 1  # (B, T - 2): the index of each token's word
        # words in a random order, each with its length; take them while they fit
        lengths = torch.zeros_like(word).scatter_add_(1, word, torch.ones_like(word))
        order = score.masked_fill(lengths == 0, 2).argsort(1)
        total = lengths.gather(1, order).cumsum(1)
        fits = total <= wanted
        fits[:, 0] = True  # a single long word is better than none
        taken = torch.zeros_like(fits).scatter_(1, order, fits)
        row, column = taken.gather(1, word).nonzero(as_tuple=True)
        return row, column
