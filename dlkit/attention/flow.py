"""From the attention of single layers to that of the whole stack on the text: rollout and flow.

Abnar & Zuidema, arXiv:2005.00928. A block adds attention to a shortcut, so with A the mean over heads, a token of layer
l is made of those of layer l - 1 in the shares

    M_l = (A_l + I) / 2

Rollout follows these shares down to the text, R_l = M_l R_{l-1} with R_0 = I. Flow takes them for the capacities of
pipes: the share of input token j in a token of layer l is the greatest flow between the two.

Shapes: T tokens, H heads, R rows of a block, S keys that they see, L layers.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from dlkit.errors import RequestError

MOST_PIPES = 300_000  # L T^2, above which the T L greatest flows take minutes
_UNIT = 1 << 29  # scipy counts in 32-bit integers: a capacity of 1 is this much


class Rollout:
    """The rollout of a stack that is visited layer by layer, each in blocks of rows. Keeps two (T, T) matrices."""

    def __init__(self, tokens: int) -> None:
        self.matrix = torch.eye(tokens)  # R_l
        self._next = torch.empty_like(self.matrix)

    def add(self, start: int, weights: Tensor) -> None:
        """Take the weights (H, R, S) of the queries from `start` on of the layer underway."""
        stop = start + weights.shape[1]
        rows = shares(start, weights)  # (R, S)
        # R_l = M_l R_{l-1}
        self._next[start:stop] = rows @ self.matrix[: rows.shape[1]]
        if stop == len(self.matrix):  # the layer's last row
            self.matrix, self._next = self._next, self.matrix


def shares(start: int, weights: Tensor) -> Tensor:
    """Rows of M = (A + I) / 2, (R, S), with A the mean over heads of weights (H, R, S)."""
    rows = weights.mean(0).float().cpu() / 2
    places = torch.arange(len(rows))
    rows[places, start + places] += 0.5
    return rows


def flow(layers: list[np.ndarray], target: int) -> np.ndarray:
    """The greatest flow from each input token to token `target` of each layer, (L, T).

    Args:
        layers: M of each layer, (T, T).
        target: the token whose sources are looked for.

    Raises:
        RequestError: the graph is too large.
    """
    count, tokens = len(layers), len(layers[0])
    if count * tokens**2 > MOST_PIPES:
        most = int((MOST_PIPES / count) ** 0.5)
        raise RequestError(
            f"flow through {count} layers of {tokens} tokens would take minutes: it is for {most} tokens at most",
            "shorten the text, or leave --flow out",
        )
    # node l T + i is token i of layer l; water runs from the text, layer 0, upwards
    below, above, capacity = [], [], []
    for number, shares_ in enumerate(layers):
        i, j = np.nonzero(shares_)
        below.append(number * tokens + j)
        above.append((number + 1) * tokens + i)
        capacity.append(np.rint(shares_[i, j] * _UNIT).astype(np.int32))
    size = (count + 1) * tokens
    edges = (np.concatenate(capacity), (np.concatenate(below), np.concatenate(above)))
    graph = coo_array(edges, shape=(size, size)).tocsr()
    graph.eliminate_zeros()
    result = np.zeros((count, tokens))
    for number in range(count):
        for source in range(tokens):
            found = maximum_flow(graph, source, (number + 1) * tokens + target)
            result[number, source] = found.flow_value / _UNIT
    return result
