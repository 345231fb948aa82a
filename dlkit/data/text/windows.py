"""Batches for causal language modelling: windows of a long array of tokens, packed end to end, without padding.

An epoch shifts all windows by one random offset and shuffles them. Both are a pure function of (seed, epoch), so that
iteration resumes exactly at any batch.

Shapes: n tokens in all, B windows a batch, T tokens a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlkit.annotations import Count
from dlkit.data.batch import Batch, CausalBatch
from dlkit.data.epochs import Epochs, hashed_seed
from dlkit.data.text.token_ids import Tokens
from dlkit.errors import DlkitError

_ON_DEVICE = 1 << 30  # bytes of tokens that are kept on the device
IGNORED = -100  # the target of a token that does not count, as in torch's cross_entropy


class WindowBatches(Epochs):
    """Batches of windows, whatever is to be predicted in them. Subclasses set `samples`, `batch_size` and `stride`.

    Args:
        tokens: of the whole text, (n,).
        context: tokens a window that the model sees; a shorter text makes a shorter window.
        ahead: tokens that a window spans beyond these.

    Raises:
        DlkitError: no more than `ahead` tokens.
    """

    stride: int

    def __init__(
        self, tokens: Tokens, device: torch.device, seed: int, training: bool, *, context: int, ahead: int
    ) -> None:
        if len(tokens) <= ahead:
            raise DlkitError(f"a text of {len(tokens)} tokens is too short: there is nothing to predict")
        self.device, self.seed, self.training = device, seed, training
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
        for batch in self.numbers(start):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield self._make(begins[rows], number, batch, rows)

    def _begins(self, number: int) -> Tensor:
        """Offsets of the windows of an epoch, (samples,), on the CPU."""
        if not self.training:
            return (torch.arange(self.samples) * self.stride).clamp(max=self._length - self._span)
        generator = torch.Generator().manual_seed(hashed_seed(self.seed, number))
        slack = self._length - self._span - (self.samples - 1) * self.window
        offset = torch.randint(slack + 1, (), generator=generator)
        return offset + self.window * torch.randperm(self.samples, generator=generator)

    def _take(self, begins: Tensor) -> Tensor:
        """The windows at these offsets, (B, span) int64, on the device."""
        if self._mapped:
            return self.send(self._on_host(begins))
        return self._tokens[self.send(begins)[:, None] + self._steps].long()

    def _on_host(self, begins: Tensor) -> Tensor:
        """The same on the CPU."""
        positions = begins.numpy()[:, None] + np.arange(self._span)
        return torch.from_numpy(self._host[positions].astype(np.int64))

    def _make(self, begins: Tensor, number: int, batch: int, rows: slice) -> Batch:
        """Batch `batch` of epoch `number`: the windows `rows`, at these offsets."""
        raise NotImplementedError


class TokenWindows(WindowBatches):
    """Windows for causal language modelling, as `CausalBatch`es.

    In evaluation each token is predicted once: windows begin every `stride` tokens, and the targets that an earlier
    window predicted are `IGNORED`; the last window ends with the text.

    Args:
        batch_size: windows a batch.
        context: tokens a window; a shorter text makes a shorter window.
        stride: tokens between two windows in evaluation; null for context. Less gives tokens more context.

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
        super().__init__(tokens, device, seed, training, context=context, ahead=1)
        self.stride = min(stride or self.window, self.window)
        whole = (len(tokens) - 1) // self.window
        if training:
            # with one window less, the offset can take any value from 0 to T - 1 and more
            self.samples = whole - 1 if whole > 8 else whole
        else:
            self.samples = 1 + -(-(len(tokens) - 1 - self.window) // self.stride)
        self.batch_size = min(batch_size, self.samples)

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[Batch]:
        if self._mapped:
            yield from super().side_by_side(sources, number, start)
            return
        begins, count = self.laid_out([source._begins(number) for source in sources]), len(sources)  # (S samples,)
        for begin in self.begins(start):
            size = min(self.batch_size, self.samples - begin)
            chosen = begins[count * begin : count * (begin + size)]
            windows = self._tokens[chosen[:, None] + self._steps].long().unflatten(0, (count, size))  # (S, B, span)
            yield CausalBatch(windows[..., :-1], windows[..., 1:].flatten(1))

    def _make(self, begins: Tensor, number: int, batch: int, rows: slice) -> Batch:
        own = self.own_rows(len(begins))
        whole = self.whole(len(begins) * self.window)
        begins, rows = begins[own], slice(rows.start + own.start, rows.start + own.stop)
        windows = self._take(begins)
        token_ids, targets = windows[:, :-1], windows[:, 1:]
        if not self.training and (self.stride < self.window or rows.stop >= self.samples):
            targets = targets.clone()
            all_begins = self._begins(0)
            for row, index in enumerate(range(rows.start, min(rows.stop, self.samples))):
                if index:  # the previous window has predicted so many of these
                    done = int(all_begins[index - 1]) + self.window - int(all_begins[index])
                    targets[row, :done] = IGNORED
        return CausalBatch(token_ids, targets.reshape(-1), whole=whole)
