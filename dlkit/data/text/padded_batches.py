"""Batches of texts of different lengths: rows of similar length share a batch and are padded to its longest row.

Shapes: R rows (texts or pairs) a batch, N examples (of one row each, or one row a candidate), T tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.annotations import Count
from dlkit.data.balanced_order import balanced_order
from dlkit.data.batch import TextBatch
from dlkit.data.epochs import Epochs, hashed_seed
from dlkit.data.text.labelled import Examples
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError

_POOL = 50  # batches whose examples are sorted by length together
_MULTIPLE = 8  # T is a multiple of it, which suits the kernels and repeats shapes


@dataclass(frozen=True)
class Encoded:
    """The rows of a split as token ids: [CLS] first [SEP], or [CLS] first [SEP] second [SEP].

    Args:
        token_ids: all rows, concatenated.
        starts: (rows + 1,) offset of each row.
        second: (rows,) position of the second text in its row; the row's length if it has none.
        cut: how many tokens did not fit.
    """

    token_ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    second: NDArray[np.int64]
    cut: int

    @property
    def lost(self) -> float:
        """Share of the tokens that did not fit."""
        return self.cut / max(1, len(self.token_ids) + self.cut)


def encode(examples: Examples, tokenizer: Tokenizer, context: int) -> Encoded:
    """Encode rows, at most `context` tokens each.

    A text that is too long loses its end; of a pair, the longer one is cut first.
    """
    begin, end = tokenizer.require("[CLS]"), tokenizer.require("[SEP]")
    firsts = tokenizer.encode(examples.first)
    seconds = tokenizer.encode(examples.second) if examples.second is not None else None
    rows: list[list[int]] = []
    borders: list[int] = []
    cut = 0
    for i, first in enumerate(firsts):
        second = seconds[i] if seconds is not None else []
        room = context - (2 if seconds is None else 2 + tokenizer.separators)
        kept = _shares(len(first), len(second), room)
        cut += len(first) + len(second) - sum(kept)
        row = [begin, *first[: kept[0]], *[end] * (tokenizer.separators if seconds is not None else 1)]
        borders.append(len(row))
        if seconds is not None:
            row += [*second[: kept[1]], end]
        rows.append(row)
    starts = np.cumsum([0, *map(len, rows)])
    token_ids = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(starts[-1]))
    return Encoded(token_ids, starts, np.array(borders, dtype=np.int64), cut)


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text fit: the longer one is cut first, down to the other's length."""
    if first + second <= room:
        return first, second
    half = room // 2
    if first <= half:
        return first, room - first
    if second <= room - half:
        return room - second, second
    return half, room - half


class SequenceBatches(Epochs):
    """Texts, padded to the longest row of their batch, as `TextBatch`es on the device.

    Training shuffles, sorts pools of 50 batches by length, and shuffles the batches; evaluation sorts by length.

    Args:
        batch_size: examples a batch.
        context: tokens a row at most.
        balance: whether an epoch of training has every class equally often, however rare it is in the data.

    Raises:
        RequestError: answers that are numbers, or candidates, are to be balanced.
    """

    def __init__(
        self,
        examples: Examples,
        tokenizer: Tokenizer,
        device: torch.device,
        seed: int,
        training: bool,
        *,
        batch_size: Count = 32,
        context: Count = 128,
        balance: bool = False,
    ) -> None:
        self.device, self.seed, self.training = device, seed, training
        if balance and examples.counts is not None:
            raise RequestError(
                "data.balance is set, and an answer is one of an example's own candidates, not a class",
                "data.balance=false",
            )
        self._classes = torch.from_numpy(examples.targets) if balance and training else None
        self.examples = examples
        self.encoded = encode(examples, tokenizer, context)
        self.samples = len(examples.targets)
        self.batch_size = min(batch_size, self.samples)
        self._pad = tokenizer.require("[PAD]")
        ends = np.arange(self.samples + 1) if examples.counts is None else np.cumsum([0, *examples.counts])
        self._rows = ends  # example i has the rows ends[i] to ends[i + 1]
        lengths = np.diff(self.encoded.starts)
        self.lengths = np.maximum.reduceat(lengths, ends[:-1])  # (N,) of each example's longest row

    def order(self, number: int) -> list[NDArray[np.int64]]:
        """The examples of each batch of epoch `number`."""
        size = self.batch_size
        if not self.training:
            order = np.argsort(self.lengths, kind="stable")
            return [order[i : i + size] for i in range(0, self.samples, size)]
        seed = hashed_seed(self.seed, number)
        generator = np.random.default_rng(seed)
        if self._classes is not None:
            shuffled = balanced_order(self._classes, torch.Generator().manual_seed(seed)).numpy()
        else:
            shuffled = generator.permutation(self.samples)
        # the short last batch is drawn before sorting, so that it is no batch of the longest
        whole = self.samples // size * size
        batches: list[NDArray[np.int64]] = []
        for begin in range(0, whole, size * _POOL):
            pool = shuffled[begin : min(begin + size * _POOL, whole)]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        batches = [batches[i] for i in generator.permutation(len(batches))]
        return [*batches, shuffled[whole:]] if whole < self.samples else batches

    def padding(self, number: int = 0) -> float:
        """Share of the positions of an epoch that hold padding."""
        tokens = total = 0
        for chosen in self.order(number):
            mask = self._make(chosen).attention_mask
            tokens, total = tokens + int(mask.sum()), total + mask.numel()
        return 1 - tokens / total

    def epoch(self, number: int, start: int = 0) -> Iterator[TextBatch]:
        """Batches `start`, `start` + 1, ... of epoch `number`."""
        order = self.order(number)
        for index in self.numbers(start):
            chosen = order[index]
            batch = self._make(chosen[self.own_rows(len(chosen))]).map(self.send)
            yield dataclasses.replace(batch, whole=self.whole(len(chosen)))

    def _make(self, chosen: NDArray[np.int64]) -> TextBatch:
        """The batch of these examples, on the CPU."""
        encoded, examples = self.encoded, self.examples
        rows = (
            chosen
            if examples.counts is None
            else np.concatenate([chosen[:0], *(np.arange(int(self._rows[i]), int(self._rows[i + 1])) for i in chosen)])
        )
        begins, lengths = encoded.starts[rows], np.diff(encoded.starts)[rows]
        width = -(-int(lengths.max(initial=1)) // _MULTIPLE) * _MULTIPLE
        position = np.arange(width)
        mask = position < lengths[:, None]  # (R, T)
        token_ids = np.full((len(rows), width), self._pad, dtype=np.int64)
        texts = [encoded.token_ids[a : a + n] for a, n in zip(begins, lengths, strict=True)]
        token_ids[mask] = np.concatenate([encoded.token_ids[:0], *texts])
        segment_ids = None
        if examples.second is not None:
            segment_ids = torch.from_numpy(((position >= encoded.second[rows][:, None]) & mask).astype(np.int64))
        return TextBatch(
            token_ids=torch.from_numpy(token_ids),
            targets=torch.from_numpy(examples.targets[chosen]),
            segment_ids=segment_ids,
            attention_mask=torch.from_numpy(mask),
            candidate_counts=None if examples.counts is None else torch.from_numpy(examples.counts[chosen]),
            question_ids=None if examples.groups is None else torch.from_numpy(examples.groups[chosen]),
            credit=None if examples.credit is None else torch.from_numpy(examples.credit[rows]),
        )
