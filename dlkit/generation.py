"""Sample text from a causal language model, with a cache of keys and values.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dlkit.errors import DlkitError, RequestError
from dlkit.models.decoding import Decoder
from dlkit.models.gpt import GPT

_STEPS_AT_ONCE = 8


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
        # P(token) ~ e^(logit / temperature)
        logits = logits.float() / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k).values[:, -1:]  # (B, 1)
            logits = logits.masked_fill(logits < least, -math.inf)
        if self.top_p < 1:
            ordered, places = logits.sort(descending=True)
            p = ordered.softmax(-1)
            # drop a token if those before it have the probability already; the likeliest one always stays
            beyond = p.cumsum(-1) - p >= self.top_p
            logits = logits.masked_fill(torch.zeros_like(beyond).scatter_(1, places, beyond), -math.inf)
        return logits.softmax(-1)

    def choose(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """The next token of each sequence, (B, 1), on the device; -1 where the scores are no numbers."""
        if self.temperature == 0 or self.top_k == 1:
            scores = logits
        else:
            p = self.probabilities(logits)
            # argmax of p / e with e ~ Exp(1) is a sample of p (the race of exponential clocks), and waits for no host
            scores = p / torch.empty_like(p).exponential_(generator=generator)
        best, chosen = scores.max(-1, keepdim=True)
        return chosen.where(best == best, -1)  # a NaN is the greatest to `max`, and equals nothing


@torch.inference_mode()
def generate(
    model: GPT, prompts: list[list[int]], most: int, sampling: Sampling, generator: torch.Generator
) -> Iterator[Tensor]:
    """The next token of every prompt, again and again: yields (B,) int64 on the device, at most `most` times.

    A token costs one row of attention: keys and values of those before it are cached. When the model's context is full,
    its first half is forgotten and the rest is read again.

    Args:
        model: in evaluation mode.
        prompts: token numbers, at least one each and at most the model's context; shorter ones are padded on the left.
        most: tokens to sample.
        sampling: how they are chosen.
        generator: of random numbers, on the model's device.
    """
    device, longest = model.tokens.weight.device, max(map(len, prompts))
    rows = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
    tokens = torch.tensor(rows, device=device)  # (B, T)
    short = any(len(prompt) < longest for prompt in prompts)
    padding = torch.tensor([longest - len(prompt) for prompt in prompts], device=device) if short else None
    capacity = min(model.context, longest + most)
    decoder = Decoder(model, model.make_cache(len(prompts), capacity))
    parts = [tokens]  # all tokens, of which the cache holds all but the last part
    for _ in range(most):
        if decoder.cache.length + parts[-1].shape[1] > model.context:
            kept = model.context // 2
            tokens = torch.cat(parts, 1)
            if padding is not None:
                padding = (padding - (tokens.shape[1] - kept)).clamp(min=0)
            parts = [tokens[:, -kept:]]
            decoder.cache = model.make_cache(len(prompts), model.context)
        if len(parts) == 1:
            logits = model(parts[0], cache=decoder.cache, padding=padding, last=True)[:, -1]  # (B, V)
        else:
            logits = decoder.step(parts[-1][:, 0], padding)
        chosen = sampling.choose(logits, generator)  # (B, 1)
        parts.append(chosen.clamp(min=0))  # `fetched` refuses a -1, but a GPU is some steps ahead of it
        yield chosen[:, 0]


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
