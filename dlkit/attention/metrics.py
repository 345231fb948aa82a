"""Metrics of an attention head: its entropy, and the attention that falls on particular kinds of position.

All but the entropy are means over queries i of sum over keys j of c_ij a_ij, where a_ij is the attention weight and the
coefficients c_ij depend on the tokens alone. A single matrix product with the weights therefore gives them all:

    sink          1 where j is the first token or a special one
    first         1 where j is the first token
    previous      1 where j = i - 1                               (Voita et al., arXiv:1905.09418; Clark et al.,
    next          1 where j = i + 1                                arXiv:1906.04341: positional heads)
    same          1 where j = i
    duplicate     1 where j is another occurrence of token i       (Wang et al., arXiv:2211.00593)
    prefix        1 where j < i follows an earlier occurrence of token i: the prefix-matching score
                                                                   (Olsson et al., arXiv:2209.11895)
    distance      |i - j|, in tokens
    diagonality   1 - |i - j| / the largest distance i can see     (after Zhang et al., arXiv:2011.04906)

A query counts only if it has a choice: for sink and first if it sees more than one token, for the others if it sees a
key of that kind. One more metric, `induction`, is the prefix score on repeated random tokens
(dlkit/attention/induction.py).

Shapes: T tokens, H heads, L layers, R rows of a block, S keys that they see, K metrics with coefficients.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LINEAR_METRICS = ("sink", "first", "previous", "next", "same", "duplicate", "prefix", "distance", "diagonality")
_CACHED = 1 << 24  # at most so many coefficients are cached from layer to layer


@dataclass(frozen=True)
class TokenPositions:
    """Which token stands at each position of a text, as the metrics see it.

    Args:
        token_ids: (T,) int64.
        special: (T,) bool, True for special tokens such as [CLS].
        causal: whether a token attends only to itself and the tokens before it.
        start: the first query that counts.
        stop: one past the last query that counts; None for all.
    """

    token_ids: Tensor
    special: Tensor
    causal: bool
    start: int = 0
    stop: int | None = None

    def to(self, device: torch.device) -> TokenPositions:
        """A copy on a device."""
        return dataclasses.replace(self, token_ids=self.token_ids.to(device), special=self.special.to(device))

    def coefficients(self, start: int, stop: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """c of the queries `start` to `stop`, (R, S, K), and how many of these queries count for each metric, (K,)."""
        tokens, device = self.token_ids, self.token_ids.device
        seen = stop if self.causal else len(tokens)
        i = torch.arange(start, stop, device=device)[:, None]  # (R, 1)
        j = torch.arange(seen, device=device)  # (S,)
        visible = (j <= i) if self.causal else torch.ones(len(i), seen, dtype=torch.bool, device=device)
        keys = visible.sum(1)  # (R,) how many each query sees
        before = torch.cat((tokens.new_full((1,), -1), tokens[: seen - 1]))  # (S,) the token before each key
        first = (j == 0) & visible
        distance = (i - j).abs()
        farthest = i.clamp(min=0) if self.causal else torch.maximum(i, len(tokens) - 1 - i)  # (R, 1)
        coefficients = torch.zeros(len(i), seen, len(LINEAR_METRICS), dtype=dtype, device=device)
        kinds = (
            first | (self.special[:seen] & visible),
            first,
            j == i - 1,
            (j == i + 1) & visible,
            j == i,
            (tokens[:seen] == tokens[start:stop, None]) & (j != i) & visible,
            (before == tokens[start:stop, None]) & (j < i),
        )
        counts = torch.zeros(len(LINEAR_METRICS), dtype=torch.float64)
        for k, kind in enumerate(kinds):
            counted = (keys > 1) if k < 2 else kind.any(1)  # (R,)
            coefficients[..., k] = kind & counted[:, None]
            counts[k] = counted.sum()
        coefficients[..., -2] = distance
        coefficients[..., -1] = torch.where(farthest > 0, 1 - distance.to(dtype) / farthest.clamp(min=1), 0.0)
        counts[-2], counts[-1] = len(i), (farthest > 0).sum()
        return coefficients, counts

    def max_entropy(self, start: int, stop: int) -> float:
        """The largest entropy, in bits, that the queries can have together: the sum of log2(keys that each sees)."""
        if self.causal:
            return sum(math.log2(i + 1) for i in range(start, stop))
        return (stop - start) * math.log2(len(self.token_ids))


class HeadMetrics:
    """Accumulates the metrics of L layers of H heads over blocks of rows, without keeping any weights.

    Args:
        positions: the text.
        layers: L.
        heads: H.
    """

    def __init__(self, positions: TokenPositions, layers: int, heads: int) -> None:
        self.positions = positions
        self._sums = torch.zeros(layers, heads, len(LINEAR_METRICS), dtype=torch.float64)
        self._counts = torch.zeros(layers, len(LINEAR_METRICS), dtype=torch.float64)
        self._bits = torch.zeros(layers, heads, dtype=torch.float64)
        self._rows, self._max_bits = torch.zeros(layers, 1), torch.zeros(layers, 1, dtype=torch.float64)
        self._cache: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are expected."""
        return self.positions.token_ids.device

    def update(self, layer: int, start: int, weights: Tensor) -> None:
        """Add the attention weights (H, R, S) of a layer, of the queries from `start` on."""
        positions = self.positions
        last = len(positions.token_ids) if positions.stop is None else positions.stop
        a, b = max(start, positions.start), min(start + weights.shape[1], last)
        if a >= b:
            return
        weights = weights[:, a - start : b - start]
        coefficients, counts = self._coefficients(a, b, weights.dtype)
        seen = coefficients.shape[1]
        if seen != weights.shape[2]:
            weights = weights[..., :seen]  # whole rows of a causal layer, 0 from here on
        # sum over i and j of c_ij a_ij
        self._sums[layer] += (weights.flatten(1) @ coefficients.flatten(0, 1)).double().cpu()
        self._counts[layer] += counts
        # H_i = -sum over j of a_ij log2 a_ij, with 0 log 0 = 0
        self._bits[layer] += torch.special.entr(weights).sum((1, 2)).double().cpu() / math.log(2)
        self._rows[layer] += b - a
        self._max_bits[layer] += positions.max_entropy(a, b)

    def _coefficients(self, start: int, stop: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if (start, stop) in self._cache:
            return self._cache[start, stop]
        made = self.positions.coefficients(start, stop, dtype)
        if len(self.positions.token_ids) ** 2 * len(LINEAR_METRICS) <= _CACHED:
            self._cache[start, stop] = made
        return made

    def compute(self) -> dict[str, np.ndarray]:
        """Each metric of `dlkit.attention.request.METRICS` but induction, (L, H); NaN where no query counts.

        `entropy` is in bits, `entropy_share` a fraction of the largest possible entropy, `distance` in tokens;
        the others are fractions of the attention.
        """
        means = (self._sums / self._counts[:, None]).numpy()  # (L, H, K)
        entropy = {
            "entropy": (self._bits / self._rows).numpy(),
            "entropy_share": (self._bits / self._max_bits).numpy(),
        }
        return {**entropy, **{name: means[..., k] for k, name in enumerate(LINEAR_METRICS)}}
