"""What a head does, in numbers: entropy, and the mass of attention on places of a kind.

All but the entropy are means over queries i of sums over keys j of c_ij a_ij, with the weights a_ij of attention and
coefficients c_ij that depend on the tokens alone, so that one product with the weights gives them all:

    sink          1 where j is the first token or a special one
    first         1 where j is the first token
    previous      1 where j = i - 1                               (Voita et al., arXiv:1905.09418; Clark et al.,
    next          1 where j = i + 1                                arXiv:1906.04341: positional heads)
    same          1 where j = i
    duplicate     1 where j is another occurrence of token i       (Wang et al., arXiv:2211.00593)
    prefix        1 where j < i follows an earlier occurrence of token i: the prefix-matching score
                                                                   (Olsson et al., arXiv:2209.11895)
    distance      |i - j|, in tokens
    diagonality   1 - |i - j| / the most that i can see            (after Zhang et al., arXiv:2011.04906)

A query counts only where there is a choice: for sink and first where it sees more than one token, for the others where
such a key exists among those that it sees. Of the rest, `induction` is the prefix score on repeated random tokens
(dlkit/attention/induction.py).

Shapes: T tokens, H heads, L layers, R rows of a block, S keys that they see, K measures with coefficients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LINEAR = ("sink", "first", "previous", "next", "same", "duplicate", "prefix", "distance", "diagonality")
MEASURES = ("entropy", "entropy_share", *LINEAR)
_KEPT = 1 << 24  # coefficients that are kept from layer to layer, in numbers


@dataclass(frozen=True)
class Places:
    """The tokens of one text, as the measures see them.

    Args:
        tokens: (T,) int64 numbers.
        special: (T,) bool.
        causal: whether a token sees only itself and those before it.
        start: the first query that counts.
        stop: behind the last one; None for all.
    """

    tokens: Tensor
    special: Tensor
    causal: bool
    start: int = 0
    stop: int | None = None

    def coefficients(self, start: int, stop: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(R, S, K) of the queries from `start` to `stop`, and how many of these count for each measure, (K,)."""
        tokens, device = self.tokens, self.tokens.device
        seen = stop if self.causal else len(tokens)
        i = torch.arange(start, stop, device=device)[:, None]  # (R, 1)
        j = torch.arange(seen, device=device)  # (S,)
        visible = (j <= i) if self.causal else torch.ones(len(i), seen, dtype=torch.bool, device=device)
        number = visible.sum(1)  # (R,)
        before = torch.cat((tokens.new_full((1,), -1), tokens[: seen - 1]))  # (S,) the token in front of each key
        first = (j == 0) & visible
        away = (i - j).abs()
        most = i.clamp(min=0) if self.causal else torch.maximum(i, len(tokens) - 1 - i)  # (R, 1)
        coefficients = torch.zeros(len(i), seen, len(LINEAR), dtype=dtype, device=device)
        kinds = (
            first | (self.special[:seen] & visible),
            first,
            j == i - 1,
            (j == i + 1) & visible,
            j == i,
            (tokens[:seen] == tokens[start:stop, None]) & (j != i) & visible,
            (before == tokens[start:stop, None]) & (j < i),
        )
        counts = torch.zeros(len(LINEAR), dtype=torch.float64)
        for k, kind in enumerate(kinds):
            counted = (number > 1) if k < 2 else kind.any(1)  # (R,)
            coefficients[..., k] = kind & counted[:, None]
            counts[k] = counted.sum()
        coefficients[..., -2] = away
        coefficients[..., -1] = torch.where(most > 0, 1 - away.to(dtype) / most.clamp(min=1), 0.0)
        counts[-2], counts[-1] = len(i), (most > 0).sum()
        return coefficients, counts

    def choices(self, start: int, stop: int) -> float:
        """The sum over queries of log2(how many keys it sees): the most entropy that they can have, in bits."""
        if self.causal:
            return sum(math.log2(i + 1) for i in range(start, stop))
        return (stop - start) * math.log2(len(self.tokens))


class Scores:
    """Sums up the measures of L layers of H heads over blocks of rows; nothing of the weights is kept.

    Args:
        places: the text.
        layers: L.
        heads: H.
    """

    def __init__(self, places: Places, layers: int, heads: int) -> None:
        self.places = places
        self._sums = torch.zeros(layers, heads, len(LINEAR), dtype=torch.float64)
        self._counts = torch.zeros(layers, len(LINEAR), dtype=torch.float64)
        self._bits = torch.zeros(layers, heads, dtype=torch.float64)
        self._rows, self._most = torch.zeros(layers, 1), torch.zeros(layers, 1, dtype=torch.float64)
        self._kept: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are expected."""
        return self.places.tokens.device

    def add(self, layer: int, start: int, weights: Tensor) -> None:
        """Add the weights (H, R, S) of the queries from `start` on."""
        places = self.places
        stop = start + weights.shape[1]
        a, b = max(start, places.start), min(stop, len(places.tokens) if places.stop is None else places.stop)
        if a >= b:
            return
        weights = weights[:, a - start : b - start]
        coefficients, counts = self._coefficients(a, b, weights.dtype)
        seen = coefficients.shape[1]
        if seen != weights.shape[2]:
            weights = weights[..., :seen]  # of whole rows of a causal layer
        # sum over i and j of c_ij a_ij
        self._sums[layer] += (weights.flatten(1) @ coefficients.flatten(0, 1)).double().cpu()
        self._counts[layer] += counts
        # H_i = -sum over j of a_ij log2 a_ij, with 0 log 0 = 0
        self._bits[layer] += torch.special.entr(weights).sum((1, 2)).double().cpu() / math.log(2)
        self._rows[layer] += b - a
        self._most[layer] += places.choices(a, b)

    def _coefficients(self, start: int, stop: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if (start, stop) in self._kept:
            return self._kept[start, stop]
        made = self.places.coefficients(start, stop, dtype)
        if len(self.places.tokens) ** 2 * len(LINEAR) <= _KEPT:
            self._kept[start, stop] = made
        return made

    def result(self) -> dict[str, np.ndarray]:
        """Each of `MEASURES`, (L, H); NaN where no query counts. `entropy` is in bits, `entropy_share` the part of the
        most that it could be, `distance` in tokens, the others are shares of the attention."""
        values = {name: (self._sums[..., k] / self._counts[:, k, None]).numpy() for k, name in enumerate(LINEAR)}
        entropy = {
            "entropy": (self._bits / self._rows).numpy(),
            "entropy_share": (self._bits / self._most).numpy(),
        }
        return {**entropy, **values}


def measure(weights: Tensor, places: Places) -> dict[str, np.ndarray]:
    """The measures of whole matrices of weights, (H, T, T): (H,) each."""
    scores = Scores(places, 1, len(weights))
    scores.add(0, 0, weights)
    return {name: value[0] for name, value in scores.result().items()}
