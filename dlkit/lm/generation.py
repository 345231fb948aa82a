"""Sample text from a causal language model, with a cache of keys and values.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dlkit import memory
from dlkit.errors import DlkitError, RequestError
from dlkit.lm.side_by_side import SideBySide
from dlkit.models.gpt import GPT

_STEPS_AT_ONCE = 8
_BATCH_BYTES = 4 << 30  # at most, of what goes side by side
_READING = 16  # times the width: what a layer computes of a token of the prompt
_CHOOSING = 16  # times the vocabulary: logits, noise, their order and sums
_ROUNDING = 1e-5  # of logits, as a share of the greatest: six times the most that batches of other sizes changed


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Args:
        temperature: divides the logits; 0 takes the likeliest token (greedy).
        top_k: choose among the k likeliest; 0 for all.
        top_p: choose among the likeliest that together have this probability (Holtzman et al., arXiv:1904.09751).

    Raises:
        RequestError: a value out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < math.inf):
            raise RequestError(
                f"a temperature of {self.temperature} makes no sense", "0 is greedy, 1 is the model's own"
            )
        if self.top_k < 0:
            raise RequestError(f"top-k must not be negative, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top-p must be in (0, 1], got {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution that is sampled from, (B, V), of logits (B, V)."""
        return self._kept(logits)[0].softmax(-1)

    def _kept(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, Tensor] | None]:
        """Logits over temperature, -inf where they are not chosen from; and what `_margins` asks of the cuts.

        Returns:
            (B, V) kept, (B, V) all of them; the k + 1 greatest; all in order, with the probability before each.
        """
        # P(token) ~ e^(logit / temperature)
        scores = kept = logits.float() / self.temperature
        greatest = ordered = None
        if 0 < self.top_k < logits.shape[-1]:
            greatest = scores.topk(self.top_k + 1).values
            kept = scores.masked_fill(scores < greatest[:, -2:-1], -math.inf)
        if self.top_p < 1 < logits.shape[-1]:
            values, places = kept.sort(descending=True)
            p = values.softmax(-1)
            before = p.cumsum(-1) - p
            # drop a token if those before it have the probability already; the likeliest one always stays
            beyond = before >= self.top_p
            kept = kept.masked_fill(torch.zeros_like(beyond).scatter_(1, places, beyond), -math.inf)
            ordered = values, before
        return kept, scores, greatest, ordered

    def _margins(
        self, scores: Tensor, greatest: Tensor | None, ordered: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How sure `_kept` is: (B, 1) the error of logits, and what is certainly out below and certainly in above."""
        error = _ROUNDING * scores.abs().amax(-1, keepdim=True)
        low = high = torch.full_like(error, -math.inf)
        if greatest is not None:
            least, next_best = greatest[:, -2:-1], greatest[:, -1:]
            low, high = least - error, next_best + error
            if self.top_p < 1:  # another k-th token would change the probabilities of all
                high = high.where(least > high, math.inf)
        if ordered is not None:
            values, before = ordered
            slack = 2 * error + _ROUNDING
            out = values.masked_fill(before < self.top_p + slack, -math.inf).amax(-1, keepdim=True)
            inside = values.masked_fill(before >= self.top_p - slack, math.inf).amin(-1, keepdim=True)
            low, high = low.maximum(out - error), high.maximum(inside.minimum(values[:, 1:2]) + error)
        return error, low, high

    def pick(self, logits: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `choose`, without asking whether rounding decided."""
        if not self.random:
            best, chosen = logits.max(-1)
        else:
            assert noise is not None
            best, chosen = (self.probabilities(logits) / noise).max(-1)
        return chosen.where(best.isfinite(), -1)

    def choose(self, logits: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next token of each sequence, (B,), -1 where the scores are no numbers; and whether rounding decided.

        Args:
            logits: (B, V).
            noise: (B, V), exponentially distributed; not needed where nothing is random.
        """
        if not self.random:
            best, chosen = logits.max(-1, keepdim=True)
            rivals = logits > best - _ROUNDING * logits.abs().amax(-1, keepdim=True)
            close = rivals.sum(-1) > 1
        else:
            assert noise is not None
            kept, scores, greatest, ordered = self._kept(logits)
            error, low, high = self._margins(scores, greatest, ordered)
            # argmax of p / e with e ~ Exp(1) is a sample of p (the race of exponential clocks), and waits for no host
            race = kept.softmax(-1) / noise
            best, chosen = race.max(-1, keepdim=True)
            # those that might be chosen from, and might win
            all_of_them = (scores - kept.logsumexp(-1, keepdim=True)).exp() / noise
            rivals = (scores >= low) & (all_of_them > best * torch.exp(-2 * error))
            close = (rivals.sum(-1) > 1) | (scores.gather(-1, chosen) <= high)[:, 0]
        return chosen.where(best.isfinite(), -1)[:, 0], close  # a NaN is the greatest to `max`

    @property
    def random(self) -> bool:
        """Whether chance has a say."""
        return self.temperature > 0 and self.top_k != 1


def rows_at_once(model: GPT, longest: int) -> int:
    """How many sequences of at most so many tokens may go side by side, so that their memory stays in bounds."""
    width, slots = model.tokens.weight.shape[1], min(longest, model.context + model.context // 2)
    # keys and values of each layer, and once more while they are moved
    cache = 2 * len(model.blocks) * 2 * width * slots
    one = cache + _READING * width * min(longest, model.context) + _CHOOSING * model.vocabulary
    room = memory.free_memory(str(model.tokens.weight.device))
    most = _BATCH_BYTES if room is None else min(_BATCH_BYTES, room // 2)
    return max(1, most // (one * model.tokens.weight.element_size()))


@torch.inference_mode()
def generate(
    model: GPT,
    prompts: list[list[int]],
    most: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    known: Tensor | None = None,
    static: bool | None = None,
) -> Iterator[Tensor]:
    """The next token of every prompt, again and again: yields (B,) int64 on the device, at most `most` times.

    A token costs one row of attention: keys and values of those before it are cached. When the model's context is full,
    its first half is forgotten and the rest is read again. On a GPU a token, its choice included, is one CUDA graph.

    A row is what it would be alone. In a batch sums are rounded otherwise, so where rounding might decide, the row is
    read again by itself and that decides: on a CPU; on a GPU it would have to be waited for at every step, and there
    texts may part where two tokens are equally likely up to rounding.

    Args:
        model: in evaluation mode.
        prompts: token numbers, at least one each and at most the model's context.
        most: tokens to sample.
        sampling: how they are chosen.
        generators: of random numbers, on the model's device: one for each row.
        known: (K,) the tokens to choose from; null for all.
        static: a step is a fixed list of kernels, which a GPU records; null for yes unless on a CPU.
    """
    device = model.tokens.weight.device
    choices = model.vocabulary if known is None else len(known)
    noise = torch.empty(len(prompts), choices, device=device) if sampling.random else None
    static = device.type != "cpu" if static is None else static

    def pick(logits: Tensor) -> Tensor:
        chosen = sampling.pick(_of(known, logits), noise)  # (B,)
        return chosen if known is None else known[chosen].where(chosen >= 0, -1)

    rows = SideBySide(model, prompts, most, pick if static else None)
    for step in range(most):
        if noise is not None:
            for row, generator in zip(noise, generators, strict=True):
                row.exponential_(generator=generator)
        # what a step gives is overwritten by the next one
        chosen = rows.next().clone() if static else _chosen(rows, sampling, noise, known)
        if step + 1 < most:
            rows.append(chosen.clamp(min=0))  # `fetched` refuses a -1, but a GPU is some steps ahead of it
        yield chosen


def _chosen(rows: SideBySide, sampling: Sampling, noise: Tensor | None, known: Tensor | None) -> Tensor:
    """The next token of each, (B,), -1 where the scores are no numbers. Waits for the device."""
    chosen, close = sampling.choose(_of(known, rows.next()), noise)
    if bool(close.any()):
        for row in close.nonzero()[:, 0].tolist():
            mine = None if noise is None else noise[row : row + 1]
            chosen[row] = sampling.choose(_of(known, rows.alone(row)), mine)[0][0]
    return chosen if known is None else known[chosen].where(chosen >= 0, -1)


def _of(known: Tensor | None, logits: Tensor) -> Tensor:
    """The logits of the tokens to choose from, (B, K)."""
    return logits if known is None else logits.index_select(-1, known)


def fetched(tokens: Iterator[Tensor], at_once: int | None = None) -> Iterator[list[int]]:
    """The tokens of each step, (B,), as numbers on the host, which waits for the device once every `at_once` steps.

    Null stands for one on a CPU, and for eight on a GPU: it computes them without a wait, at the price of a few tokens
    too many where a text ends.

    Raises:
        DlkitError: the model gave no probabilities.
    """
    waiting: list[Tensor] = []
    for chosen in tokens:
        waiting.append(chosen)
        if len(waiting) >= (at_once or (1 if chosen.device.type == "cpu" else _STEPS_AT_ONCE)):
            yield from _numbers(waiting)
            waiting.clear()
    yield from _numbers(waiting)


def _numbers(waiting: list[Tensor]) -> Iterator[list[int]]:
    for chosen in torch.stack(waiting).tolist() if waiting else ():
        if min(chosen) < 0:
            raise DlkitError(
                "the model gives no probabilities: its scores are NaN or infinite",
                "did its training diverge? If not, raise the temperature",
            )
        yield chosen


class TextStream:
    """Turns bytes that come token by token into text, never half a character, and looks for strings to stop at.

    Args:
        stops: strings that end the text; they are not part of it.
    """

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = ""  # text that may be the beginning of a stop
        self.text = ""
        self.stopped = False

    def push(self, data: bytes) -> str:
        """The text that these bytes add for certain."""
        return self._release(self._decoder.decode(data), False)

    def finish(self) -> str:
        """The text that is left; a broken character becomes U+FFFD."""
        return self._release(self._decoder.decode(b"", final=True), True)

    def _release(self, new: str, final: bool) -> str:
        if self.stopped:
            return ""
        waiting = self._held + new
        places = [place for stop in self._stops if (place := waiting.find(stop)) >= 0]
        if places:
            self.stopped = True
            waiting, self._held = waiting[: min(places)], ""
        elif not final:
            # keep back the longest end that begins a stop
            keep = max(
                (n for stop in self._stops for n in range(1, len(stop)) if waiting.endswith(stop[:n])), default=0
            )
            waiting, self._held = waiting[: len(waiting) - keep], waiting[len(waiting) - keep :]
        else:
            self._held = ""
        self.text += waiting
        return waiting
