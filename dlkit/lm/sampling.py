"""How the next token is chosen from logits: temperature, top-k and top-p sampling, or greedily.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dlkit.errors import RequestError

_ROUNDING = 1e-5  # of logits, relative to the largest: six times the most that another batch size changed them


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Args:
        temperature: divides the logits; 0 takes the most likely token (greedy).
        top_k: sample from the k most likely tokens; 0 for all.
        top_p: sample from the fewest tokens that together have this probability (Holtzman et al., arXiv:1904.09751).

    Raises:
        RequestError: a value is out of range.
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
        """The distribution that tokens are sampled from, (B, V), of logits (B, V)."""
        return self._filtered(logits)[0].softmax(-1)

    def _filtered(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, Tensor] | None]:
        """Logits / temperature filtered by top-k and top-p, and what `_margins` needs to know of the two cuts.

        Returns:
            The filtered scores, -inf where excluded, (B, V); the unfiltered ones, (B, V); the k + 1 largest, or None;
            all in descending order with the cumulative probability before each, or None.
        """
        # P(token) ~ e^(logit / temperature)
        scores = filtered = logits.float() / self.temperature
        greatest = ordered = None
        if 0 < self.top_k < logits.shape[-1]:
            greatest = scores.topk(self.top_k + 1).values
            filtered = scores.masked_fill(scores < greatest[:, -2:-1], -math.inf)
        if self.top_p < 1 < logits.shape[-1]:
            values, token_ids = filtered.sort(descending=True)
            p = values.softmax(-1)
            before = p.cumsum(-1) - p
            # drop a token if those before it already have probability top_p; the most likely one always stays
            beyond = before >= self.top_p
            filtered = filtered.masked_fill(torch.zeros_like(beyond).scatter_(1, token_ids, beyond), -math.inf)
            ordered = values, before
        return filtered, scores, greatest, ordered

    def _margins(
        self, scores: Tensor, greatest: Tensor | None, ordered: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The error of the scores, and the bounds below which a token is certainly excluded and above which it is
        certainly included, (B, 1) each."""
        error = _ROUNDING * scores.abs().amax(-1, keepdim=True)
        low = high = torch.full_like(error, -math.inf)
        if greatest is not None:
            least, next_best = greatest[:, -2:-1], greatest[:, -1:]
            low, high = least - error, next_best + error
            if self.top_p < 1:  # another k-th token would change all probabilities
                high = high.where(least > high, math.inf)
        if ordered is not None:
            values, before = ordered
            slack = 2 * error + _ROUNDING
            out = values.masked_fill(before < self.top_p + slack, -math.inf).amax(-1, keepdim=True)
            inside = values.masked_fill(before >= self.top_p - slack, math.inf).amin(-1, keepdim=True)
            low, high = low.maximum(out - error), high.maximum(inside.minimum(values[:, 1:2]) + error)
        return error, low, high

    def pick(self, logits: Tensor, noise: Tensor | None = None) -> Tensor:
        """The next token of each sequence as in `choose`, without the check for rounding."""
        if not self.random:
            best, chosen = logits.max(-1)
        else:
            assert noise is not None
            best, chosen = (self.probabilities(logits) / noise).max(-1)
        return chosen.where(best.isfinite(), -1)

    def choose(self, logits: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next token of each sequence, and whether rounding errors of the logits may have decided it.

        Args:
            logits: (B, V).
            noise: (B, V), exponentially distributed; None if nothing is random.

        Returns:
            Token ids, (B,), -1 if the logits are NaN or infinite; bool, (B,).
        """
        if not self.random:
            best, chosen = logits.max(-1, keepdim=True)
            rivals = logits > best - _ROUNDING * logits.abs().amax(-1, keepdim=True)
            close = rivals.sum(-1) > 1
        else:
            assert noise is not None
            filtered, scores, greatest, ordered = self._filtered(logits)
            error, low, high = self._margins(scores, greatest, ordered)
            # argmax of p / e with e ~ Exp(1) is a sample of p (competing exponential clocks), without a synchronization
            race = filtered.softmax(-1) / noise
            best, chosen = race.max(-1, keepdim=True)
            # tokens that may belong to the filtered ones and may win
            unfiltered = (scores - filtered.logsumexp(-1, keepdim=True)).exp() / noise
            rivals = (scores >= low) & (unfiltered > best * torch.exp(-2 * error))
            close = (rivals.sum(-1) > 1) | (scores.gather(-1, chosen) <= high)[:, 0]
        return chosen.where(best.isfinite(), -1)[:, 0], close  # `max` returns NaN if there is one

    @property
    def random(self) -> bool:
        """Whether the choice is random."""
        return self.temperature > 0 and self.top_k != 1
