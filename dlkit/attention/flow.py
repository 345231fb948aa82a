"""Attention flow: how much of each input token can reach a token of a later layer.

Abnar & Zuidema, arXiv:2005.00928. The layers are a network whose nodes are the tokens of each layer. The edge from
token j of layer l - 1 to token i of layer l has the capacity M_l[i, j], where M_l = (A_l + I) / 2 is the mean attention
with the residual connection (dlkit/attention/rollout.py). The flow of input token j into token i of layer l is the
maximum flow between the two.

Shapes: T tokens, L layers.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from dlkit.errors import RequestError

MAX_EDGES = 300_000  # L T^2, above which computing T L maximum flows takes minutes
_UNIT = 1 << 29  # scipy's capacities are 32-bit integers: a capacity of 1 becomes this many units


def attention_flow(layers: list[np.ndarray], target: int) -> np.ndarray:
    """The maximum flow from each input token to token `target` of each layer, (L, T).

    Args:
        layers: M of each layer, (T, T).
        target: the position that the flows end at.

    Raises:
        RequestError: the network has more than `MAX_EDGES` edges.
    """
    count, tokens = len(layers), len(layers[0])
    if count * tokens**2 > MAX_EDGES:
        most = int((MAX_EDGES / count) ** 0.5)
        raise RequestError(
            f"flow through {count} layers of {tokens} tokens would take minutes: it is for {most} tokens at most",
            "shorten the text, or leave `flow` out",
        )
    # node l T + i is token i of layer l, where layer 0 is the input
    sources, targets, capacities = [], [], []
    for layer, mixing in enumerate(layers):
        i, j = np.nonzero(mixing)
        sources.append(layer * tokens + j)
        targets.append((layer + 1) * tokens + i)
        capacities.append(np.rint(mixing[i, j] * _UNIT).astype(np.int32))
    size = (count + 1) * tokens
    edges = (np.concatenate(capacities), (np.concatenate(sources), np.concatenate(targets)))
    graph = coo_array(edges, shape=(size, size)).tocsr()
    graph.eliminate_zeros()
    flows = np.zeros((count, tokens))
    for layer in range(count):
        for source in range(tokens):
            found = maximum_flow(graph, source, (layer + 1) * tokens + target)
            flows[layer, source] = found.flow_value / _UNIT
    return flows
