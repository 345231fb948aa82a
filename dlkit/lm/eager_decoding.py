"""One more token of each sequence: the equations of `GPT.forward` on rows, without the modules around them.

A step of a small GPT is all overhead, and one of a larger GPT reads every weight once. So layers are plain functions
here, the cache is cut for all layers at once, and large weights go through oneDNN, which reads them on all cores, where
BLAS multiplies a matrix and one vector on a single one.

Shapes: B sequences, W = H D numbers a token, H heads of D numbers, S tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.models.gpt import GPT, padded_mask
from dlkit.nn.cache import Cache

_FITS_THE_CACHE = 32 << 20  # bytes of weights that a CPU need not fetch from memory at every step
_REORDERED = 2 << 30  # bytes of weights up to which a second copy, in oneDNN's order, is worth its memory

Function = Callable[[Tensor], Tensor]


class Decoder:
    """A GPT in evaluation mode, its cache, and the step from one token to the logits of the next.

    Args:
        model: whose weights stay as they are meanwhile.
        cache: of the tokens so far; each step adds one.
    """

    def __init__(self, model: GPT, cache: Cache) -> None:
        self.model, self.cache = model, cache
        heads: Any = [block.attention.heads for block in model.blocks]  # pyright: ignore
        self.heads: int = heads[0]
        linear = _linear_for(model)
        self.blocks = [_functions(block, linear) for block in model.blocks]
        self.norm_first: bool = model.blocks[0].norm_first  # pyright: ignore
        self.norm = _norm(model.norm)
        self.head = linear(model.head)

    def step(self, tokens: Tensor, padding: Tensor | None = None, first: int = 0) -> Tensor:
        """Logits (B, V) of the token after `tokens`, (B,) int64, which join the cache.

        Args:
            tokens: the next of each sequence.
            padding: as in `GPT.forward`, behind `first`.
            first: the slot of the cache at which the longest sequence begins.
        """
        model, cache = self.model, self.cache
        end, sequences = cache.length, len(tokens)
        slots = cache.memory[..., end, :].unbind(0)  # a layer: (2, B, H, D)
        seen = cache.memory[..., first : end + 1, :].unbind(0)  # a layer: (2, B, H, S, D)
        past = end - first
        mask, place = None, model.positions.weight[past]  # (W,)
        if padding is not None:
            mask = padded_mask(padding, past, past + 1)  # (B, 1, 1, S)
            place = F.embedding((past - padding).clamp(min=0), model.positions.weight)  # (B, W)
        x = F.embedding(tokens, model.tokens.weight) + place  # (B, W)
        for (norm_1, qkv, out, norm_2, mlp), slot, layer in zip(self.blocks, slots, seen, strict=True):
            h = norm_1(x) if self.norm_first else x
            parts = qkv(h).view(sequences, 3, self.heads, -1)  # (B, 3, H, D)
            slot.copy_(parts[:, 1:].transpose(0, 1))
            keys, values = layer.unbind(0)  # (B, H, S, D)
            y = F.scaled_dot_product_attention(parts[:, 0].unsqueeze(2), keys, values, attn_mask=mask)  # (B, H, 1, D)
            y = out(y.reshape(sequences, -1))  # (B, W)
            if self.norm_first:
                x = x + y
                x = x + mlp(norm_2(x))
            else:
                x = norm_1(x + y)
                x = norm_2(x + mlp(x))
        for layer in cache.layers:
            layer.length = end + 1
        return self.head(self.norm(x))


def _functions(block: Any, linear: Callable[[Any], Function]) -> tuple[Function, ...]:
    """Norm, queries with keys and values, output, norm and perceptron of a block."""
    first, activation, last = block.mlp
    up, down = linear(first), linear(last)

    def mlp(x: Tensor) -> Tensor:
        return down(activation(up(x)))

    attention = block.attention
    return _norm(block.attention_norm), linear(attention.qkv), linear(attention.out), _norm(block.mlp_norm), mlp


def _norm(module: Any) -> Function:
    if isinstance(module, nn.Identity):
        return module
    weight, bias, shape, eps = module.weight, module.bias, module.shape, module.eps
    return lambda x: F.layer_norm(x, shape, weight, bias, eps)


def _linear_for(model: GPT) -> Callable[[Any], Function]:
    """How to multiply by this model's weights: through oneDNN if a step reads more of them than a CPU caches."""
    weight, size = model.tokens.weight, sum(parameter.nbytes for parameter in model.parameters())
    if (
        weight.device.type != "cpu"
        or weight.dtype != torch.float32
        or size <= _FITS_THE_CACHE
        or not torch.backends.mkldnn.is_available()
    ):
        return _blas
    return partial(_onednn, reordered=size <= _REORDERED)


def _blas(module: Any) -> Function:
    weight, bias = module.weight, module.bias
    return lambda x: F.linear(x, weight, bias)


def _onednn(module: Any, reordered: bool) -> Function:
    weight = module.weight.detach()
    bias = None if module.bias is None else module.bias.detach()
    if reordered:
        weight = torch.ops.mkldnn._reorder_linear_weight(weight)
    multiply: Any = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, weight, bias, "none", [], "")
