"""The surprisal of each token of a text under a causal language model: -log2 P(token | the tokens before it).

Their sum is the ideal code length of the text, in bits (Shannon 1948). The text comes as a stream and is never held as
a whole.

The convention is `dlkit eval`'s: windows of `context` tokens begin every `stride` tokens, and the last one ends with
the text; each token is predicted once, from those before it in the first window that holds it. What stands before the
first token is the tokenizer's separator; where there is none, the first token costs log2 of the vocabulary's size.

Shapes: B windows, T tokens a window, n predicted tokens, W numbers a token, V vocabulary, K alternatives.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlkit.errors import NotFiniteError
from dlkit.models.gpt import GPT

_TOKENS_AT_ONCE = {"cpu": 1 << 12, "cuda": 1 << 15, "mps": 1 << 14}  # B T
_LOGITS_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 26, "mps": 1 << 26}  # logits; with alternatives there are four copies
_AHEAD = {"cuda": 1}  # batches that a device may be given before the last one is asked for

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Tokens in the order of the text, (n,), and what the model thought of them.

    Args:
        bits: (n,) float64 surprisal of each.
        ranks: (n,) its place among all tokens by probability, 1 for the likeliest, 0 where nothing was predicted.
        uncertainty: (n,) the entropy in bits of the model's distribution: the surprisal that it expected.
        alternatives: (n, K) the likeliest tokens instead.
        odds: (n, K) their probabilities.
    """

    tokens: Integers
    bits: NDArray[np.float64]
    ranks: Integers | None = None
    uncertainty: NDArray[np.float64] | None = None
    alternatives: Integers | None = None
    odds: NDArray[np.float64] | None = None


def windows(tokens: Iterable[Integers], context: int, stride: int) -> Iterator[tuple[Integers, int]]:
    """Windows of `context` + 1 tokens (fewer for a shorter text), and how many of the last ones are new.

    Args:
        tokens: in chunks, the first of them being known beforehand.
        context: tokens that a window shows.
        stride: tokens between two windows, at most `context`.
    """
    span = context + 1
    held = np.empty(0, dtype=np.int64)  # the text from the start of the last window on
    step, known = 0, 1  # from there to the next window; tokens of `held` that are known or predicted
    for chunk in tokens:
        held = np.concatenate((held, chunk))
        while len(held) >= step + span:
            held = held[step:]
            yield held[:span], span - known + step
            step, known = stride, span
    if len(held) > known:
        yield held[-span:], len(held) - known


def predict(
    model: GPT, chunks: Iterable[Integers], separator: int | None, context: int, stride: int, alternatives: int = 0
) -> Iterator[Predictions]:
    """Every token of a text, batch by batch.

    Args:
        model: in evaluation mode.
        chunks: the text's tokens.
        separator: the token before the text.
        context: tokens a window, at most the model's own.
        stride: tokens between two windows.
        alternatives: how many of the likeliest tokens to tell, with ranks and uncertainty; 0 for bits alone.

    Raises:
        NotFiniteError: the model's output is NaN or infinite.
    """
    device = model.tokens.weight.device
    batch = max(1, _TOKENS_AT_ONCE[device.type] // context)
    chunks = (chunk for chunk in chunks if len(chunk))  # a tokenizer may drop all of a piece
    if separator is not None:
        first = np.array([separator], dtype=np.int64)
        chunks = _chain(first, chunks)
    else:
        first = next(chunks, np.empty(0, dtype=np.int64))
        if not len(first):
            return
        yield _unpredicted(first[:1], model.vocabulary, alternatives)
        chunks = _chain(first, chunks)
    waiting: deque[_Launched] = deque()
    for rows, fresh in _batches(windows(chunks, context, stride), batch):
        waiting.append(_launch(model, rows, fresh, alternatives))
        if len(waiting) > _AHEAD.get(device.type, 0):
            yield waiting.popleft().fetch()
    while waiting:
        yield waiting.popleft().fetch()


def _batches(found: Iterator[tuple[Integers, int]], size: int) -> Iterator[tuple[Integers, list[int]]]:
    """Windows in stacks of `size`, (B, T + 1), and how many of the last tokens of each are new."""
    while group := list(itertools.islice(found, size)):
        yield np.stack([window for window, _ in group]), [new for _, new in group]


def _chain(first: Integers, rest: Iterator[Integers]) -> Iterator[Integers]:
    yield first
    yield from rest


def _unpredicted(token: Integers, vocabulary: int, k: int) -> Predictions:
    """A first token before which nothing stands: all are equally likely."""
    bits = np.array([math.log2(vocabulary)])
    if not k:
        return Predictions(token, bits)
    return Predictions(token, bits, np.zeros(1, np.int64), bits, np.zeros((1, 0), np.int64), np.zeros((1, 0)))


@dataclass(frozen=True)
class _Launched:
    """A batch whose results are on their way from the device: columns of `Predictions`, once the event has passed."""

    tokens: Integers
    columns: list[Tensor]
    done: torch.cuda.Event | None

    def fetch(self) -> Predictions:
        if self.done is not None:
            self.done.synchronize()
        unanswered = int((~self.columns[0].isfinite()).sum())
        if unanswered:
            count = len(self.tokens)
            raise NotFiniteError(f"the model's output is NaN or infinite for {unanswered:,} of {count:,} tokens")
        arrays: list[Any] = [column.numpy() for column in self.columns]
        return Predictions(self.tokens, *(a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays))


@torch.inference_mode()
def _launch(model: GPT, rows: Integers, fresh: list[int], k: int) -> _Launched:
    """Start on a batch; nothing waits for the device."""
    device = model.tokens.weight.device
    length = rows.shape[1] - 1
    new = np.arange(length) >= length - np.array(fresh)[:, None]  # (B, T)
    whole = _sent(rows, device)  # (B, T + 1)
    # places that the host knows: a mask on the device would have to be counted there first
    places = _sent(new.ravel().nonzero()[0], device)  # (n,): in the order of the text
    hidden = model.hidden(whole[:, :-1]).flatten(0, 1).index_select(0, places)  # (n, W)
    targets = whole[:, 1:].flatten().index_select(0, places)  # (n,)
    step = max(1, _LOGITS_AT_ONCE[device.type] // model.vocabulary)
    parts = [_judge(model.head(h).float(), t, k) for h, t in zip(hidden.split(step), targets.split(step), strict=True)]
    waits = device.type != "cuda"
    columns = [torch.cat(column).to("cpu", non_blocking=not waits) for column in zip(*parts, strict=True)]
    done = None if waits else torch.cuda.Event()
    if done is not None:
        done.record()
    return _Launched(rows[:, 1:][new], columns, done)


def _sent(numbers: Integers, device: torch.device) -> Tensor:
    """Numbers on the device, without a wait for it."""
    there = torch.from_numpy(numbers)
    return there.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else there.to(device)


def _judge(logits: Tensor, targets: Tensor, k: int) -> tuple[Tensor, ...]:
    """Bits of (n,) targets under (n, V) logits, with ranks, uncertainty, alternatives and odds where k > 0."""
    # -log2 P(token) = (log sum_v e^logit_v - logit_token) / ln 2
    bits = F.cross_entropy(logits, targets, reduction="none") / math.log(2)
    if not k:
        return (bits,)
    ranks = (logits > logits.gather(1, targets[:, None])).sum(1) + 1
    logs = logits.log_softmax(-1)
    p = logs.exp()
    # H = -sum_v p_v log2 p_v
    uncertainty = -(p * logs).sum(-1) / math.log(2)
    odds, alternatives = p.topk(min(k, p.shape[1]), dim=-1)
    return bits, ranks, uncertainty, alternatives, odds
