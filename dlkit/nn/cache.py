"""The key-value cache of a causal model: a new token attends to the cached keys and values of the tokens so far.

Without it, token t costs a forward pass over t tokens; with it, a pass over one token that attends to t. The causal
mask makes this exact: earlier tokens never depend on later ones.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """Keys and values of one layer, (B, H, C, D) each, allocated once for C tokens."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of the next tokens, (B, H, T, D); returns views of all, (B, H, length, D)."""
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"{end} tokens do not fit into a cache of {self.keys.shape[2]}")
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Cache:
    """The caches of all layers. Lengths are Python ints, so that no step synchronizes with the device.

    Args:
        layers: number of layers.
        shape: (B, H, C, D): sequences, heads, capacity in tokens, width of a head.
        like: a tensor whose device and dtype to use.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.memory = torch.empty(layers, 2, *shape, device=like.device, dtype=like.dtype)  # (layers, 2, B, H, C, D)
        self.layers = [LayerCache(keys, values) for keys, values in self.memory]
        self.capacity = shape[2]

    @property
    def length(self) -> int:
        """Number of cached tokens."""
        return self.layers[0].length

    def clear(self) -> None:
        """Drop all tokens but keep the memory."""
        for layer in self.layers:
            layer.length = 0
