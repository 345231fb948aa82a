"""The surprisal of each token of a text under a causal language model: -log2 P(token | the tokens before it).

The sum is the ideal code length of the text, in bits (Shannon 1948). The text is a stream and never held as a whole.

The convention is that of `dlkit eval`: windows of `context` tokens begin every `stride` tokens, and the last one ends
with the text; each token is predicted once, from those before it in the first window that contains it. The first token
is predicted from the tokenizer's separator; without one, it costs log2 of the vocabulary's size.

Shapes: B windows of T tokens, n predicted tokens, W the model's width, V vocabulary, K alternatives.
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
_LOGITS_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 26, "mps": 1 << 26}  # of which alternatives take four copies
_AHEAD = {"cuda": 1}  # so many batches are launched before the results of the first are fetched

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Tokens in the order of the text, and the model's predictions of them.

    Args:
        tokens: token ids, (n,).
        bits: the surprisal of each token, (n,) float64.
        ranks: its rank by probability, (n,), 1 for the most likely token, 0 if there was no prediction.
        entropy: of the model's distribution, the expected surprisal, in bits, (n,).
        alternatives: the K most likely token ids, (n, K).
        probabilities: of the alternatives, (n, K).
    """

    tokens: Integers
    bits: NDArray[np.float64]
    ranks: Integers | None = None
    entropy: NDArray[np.float64] | None = None
    alternatives: Integers | None = None
    probabilities: NDArray[np.float64] | None = None


def sliding_windows(tokens: Iterable[Integers], context: int, stride: int) -> Iterator[tuple[Integers, int]]:
    """Windows of `context` + 1 tokens (fewer for a shorter text), and how many of their last tokens are new.

    Args:
        tokens: token ids, in chunks; the first token is given and not predicted.
        context: the number of tokens that predictions in a window are made from.
        stride: the number of tokens from one window to the next, at most `context`.
    """
    span = context + 1
    held = np.empty(0, dtype=np.int64)  # the text from the start of the last window on
    step, known = 0, 1  # from there to the next window; so many tokens of `held` are given or predicted
    for chunk in tokens:
        held = np.concatenate((held, chunk))
        while len(held) >= step + span:
            held = held[step:]
            yield held[:span], span - known + step
            step, known = stride, span
    if len(held) > known:
        yield held[-span:], len(held) - known


def predict_tokens(
    model: GPT, chunks: Iterable[Integers], separator: int | None, context: int, stride: int, alternatives: int = 0
) -> Iterator[Predictions]:
    """Predict every token of a text, batch by batch.

    Args:
        model: in evaluation mode.
        chunks: the text's token ids.
        separator: the token id before the text; None for none.
        context: the tokens of a window, at most the model's own context.
        stride: the number of tokens from one window to the next.
        alternatives: K, for which ranks and entropies are computed too; 0 for bits alone.

    Raises:
        NotFiniteError: the model's output is NaN or infinite.
    """
    device = model.tokens.weight.device
    batch = max(1, _TOKENS_AT_ONCE[device.type] // context)
    chunks = (chunk for chunk in chunks if len(chunk))  # a tokenizer may drop a whole piece
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
    for rows, fresh in _batches(sliding_windows(chunks, context, stride), batch):
        waiting.append(_launch(model, rows, fresh, alternatives))
        if len(waiting) > _AHEAD.get(device.type, 0):
            yield waiting.popleft().fetch()
    while waiting:
        yield waiting.popleft().fetch()


def _batches(found: Iterator[tuple[Integers, int]], size: int) -> Iterator[tuple[Integers, list[int]]]:
    """Windows in batches of `size`, (B, T + 1), and how many of the last tokens of each are new."""
    while group := list(itertools.islice(found, size)):
        yield np.stack([window for window, _ in group]), [new for _, new in group]


def _chain(first: Integers, rest: Iterator[Integers]) -> Iterator[Integers]:
    yield first
    yield from rest


def _unpredicted(token: Integers, vocabulary: int, k: int) -> Predictions:
    """The first token of a text without a separator: all token ids are equally likely."""
    bits = np.array([math.log2(vocabulary)])
    if not k:
        return Predictions(token, bits)
    return Predictions(token, bits, np.zeros(1, np.int64), bits, np.zeros((1, 0), np.int64), np.zeros((1, 0)))


@dataclass(frozen=True)
class _Launched:
    """A batch whose results are being copied from the device: the columns of `Predictions`, valid after the event."""

    tokens: Integers
    columns: list[Tensor]
    done: torch.cuda.Event | None

    def fetch(self) -> Predictions:
        if self.done is not None:
            self.done.synchronize()
        not_finite = int((~self.columns[0].isfinite()).sum())
        if not_finite:
            count = len(self.tokens)
            raise NotFiniteError(f"the model's output is NaN or infinite for {not_finite:,} of {count:,} tokens")
        arrays: list[Any] = [column.numpy() for column in self.columns]
        return Predictions(self.tokens, *(a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays))


@torch.inference_mode()
def _launch(model: GPT, rows: Integers, fresh: list[int], k: int) -> _Launched:
    """Launch a batch, without synchronizing with the device."""
    device = model.tokens.weight.device
    length = rows.shape[1] - 1
    new = np.arange(length) >= length - np.array(fresh)[:, None]  # (B, T)
    token_ids = _to_device(rows, device)  # (B, T + 1)
    # indices computed on the host: a mask on the device would have to be counted there, which synchronizes
    indices = _to_device(new.ravel().nonzero()[0], device)  # (n,) in the order of the text
    hidden = model.hidden(token_ids[:, :-1]).flatten(0, 1).index_select(0, indices)  # (n, W)
    targets = token_ids[:, 1:].flatten().index_select(0, indices)  # (n,)
    step = max(1, _LOGITS_AT_ONCE[device.type] // model.vocabulary)
    chunks = [_score(model.head(h).float(), t, k) for h, t in zip(hidden.split(step), targets.split(step), strict=True)]
    waits = device.type != "cuda"
    columns = [torch.cat(column).to("cpu", non_blocking=not waits) for column in zip(*chunks, strict=True)]
    done = None if waits else torch.cuda.Event()
    if done is not None:
        done.record()
    return _Launched(rows[:, 1:][new], columns, done)


def _to_device(array: Integers, device: torch.device) -> Tensor:
    """Copy to the device without synchronizing with it."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _score(logits: Tensor, targets: Tensor, k: int) -> tuple[Tensor, ...]:
    """The columns of `Predictions` after `tokens`, of targets (n,) and logits (n, V); bits alone if k is 0."""
    # -log2 P(token) = (log sum_v e^logit_v - logit_token) / ln 2
    bits = F.cross_entropy(logits, targets, reduction="none") / math.log(2)
    if not k:
        return (bits,)
    ranks = (logits > logits.gather(1, targets[:, None])).sum(1) + 1
    logs = logits.log_softmax(-1)
    p = logs.exp()
    # H = -sum_v p_v log2 p_v
    entropy = -(p * logs).sum(-1) / math.log(2)
    probabilities, alternatives = p.topk(min(k, p.shape[1]), dim=-1)
    return bits, ranks, entropy, alternatives, probabilities
