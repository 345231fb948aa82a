"""One decoding step in plain torch operators: the equations of `GPT.forward` for one token of each sequence.

A step of a small GPT is all overhead, and that of a larger one is bound by reading every weight once. So layers are
plain functions here, the cache is sliced for all layers at once, and large weights are multiplied by oneDNN, which
reads them on all cores, whereas BLAS multiplies a matrix and a vector on a single core.

Shapes: B sequences, H heads of width D, W = H D the model's width, S tokens so far, V vocabulary.
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

_FITS_THE_CACHE = 32 << 20  # bytes of weights that stay in a CPU's cache from step to step
_REORDERED = 2 << 30  # bytes of weights up to which a second copy, in oneDNN's layout, is worth its memory

Function = Callable[[Tensor], Tensor]


class EagerDecoder:
    """A GPT with its key-value cache, and the step from one token to the logits of the next.

    Args:
        model: in evaluation mode; its weights must not change meanwhile.
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
        """Add a token to each sequence; returns the logits of the token after it, (B, V).

        Args:
            tokens: the token ids, (B,) int64.
            padding: as in `GPT.forward`, counted from `first`.
            first: the slot of the cache at which the longest sequence begins.
        """
        model, cache = self.model, self.cache
        end, sequences = cache.length, len(tokens)
        slots = cache.memory[..., end, :].unbind(0)  # a layer: (2, B, H, D)
        seen = cache.memory[..., first : end + 1, :].unbind(0)  # a layer: (2, B, H, S, D)
        past = end - first
        mask, position = None, model.positions.weight[past]  # (W,)
        if padding is not None:
            mask = padded_mask(padding, past, past + 1)  # (B, 1, 1, S)
            position = F.embedding((past - padding).clamp(min=0), model.positions.weight)  # (B, W)
        x = F.embedding(tokens, model.tokens.weight) + position  # (B, W)
        for (norm_1, qkv, out, norm_2, mlp), slot, layer in zip(self.blocks, slots, seen, strict=True):
            h = norm_1(x) if self.norm_first else x
            q_k_v = qkv(h).view(sequences, 3, self.heads, -1)  # (B, 3, H, D)
            slot.copy_(q_k_v[:, 1:].transpose(0, 1))
            keys, values = layer.unbind(0)  # (B, H, S, D)
            y = F.scaled_dot_product_attention(q_k_v[:, 0].unsqueeze(2), keys, values, attn_mask=mask)  # (B, H, 1, D)
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
    """The functions of a block: first norm, projection to q, k and v, output projection, second norm, MLP."""
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
    """How to multiply by this model's weights: with oneDNN if they do not fit into a CPU's cache."""
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
