"""The memory of a causal model: keys and values of the tokens so far, so that a new token costs one row of attention.

Without it, token t costs a pass over t tokens; with it, a pass over one token that looks at t. This is what the causal
mask buys.
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
        """Write those of the next tokens, (B, H, T, D); views of all so far, (B, H, length, D)."""
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"{end} tokens do not fit into a cache of {self.keys.shape[2]}")
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Cache:
    """The caches of all layers. Lengths are Python numbers, so that no step waits for the device.

    Args:
        layers: how many.
        shape: (B, H, C, D): sequences, heads, tokens at most, numbers a head.
        like: a tensor of the device and type to use.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        self.memory = torch.empty(layers, 2, *shape, device=like.device, dtype=like.dtype)  # (layers, 2, B, H, C, D)
        self.layers = [LayerCache(keys, values) for keys, values in self.memory]
        self.capacity = shape[2]

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.layers[0].length

    def clear(self) -> None:
        """Forget all tokens, keep the memory."""
        for layer in self.layers:
            layer.length = 0
