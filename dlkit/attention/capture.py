"""Capturing the attention weights of an unmodified model with forward hooks.

Fused attention kernels return no weights, but they need not be switched off: the queries, keys and values that entered
the kernel are the output of `qkv`, and from them the weights are recomputed in blocks of rows,

    A = softmax(Q K^T / sqrt(D)), masked as in the kernel

That these are the kernel's weights is checked rather than assumed: A V, projected, must equal the layer's real output.

Shapes: B sequences, T tokens, H heads of width D, W = H D the model's width, R rows of a block, S keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError
from dlkit.nn.attention import MultiHeadAttention

BLOCK = 1 << 20  # weights in a block, over all heads: 4 MB, which stay in the processor's cache


@dataclass(frozen=True)
class CapturedLayer:
    """The inputs and the output of one attention layer in a forward pass.

    Args:
        index: of the layer, from 0.
        module: the layer.
        q: queries, (B, H, T, D), as the kernel got them.
        k: keys, likewise.
        v: values, likewise.
        mask: the attention mask, bool, broadcastable to (B, 1, T, T), True where a query may attend to a key; None if
            the layer is only causal or attends everywhere.
        output: of the layer, (B, T, W), as its own kernel computed it.
    """

    index: int
    module: MultiHeadAttention
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    output: Tensor

    @property
    def tokens(self) -> int:
        """T."""
        return self.q.shape[2]

    def rows(self, start: int, stop: int) -> Tensor:
        """The attention weights of the queries `start` to `stop`, (B, H, R, S).

        In a causal layer the keys end at the last of these queries, S = stop, since all later weights are 0. Computed
        in float32 as kernels accumulate, or in float64 for a float64 model.
        """
        causal = self.module.causal and self.mask is None
        seen = stop if causal else self.tokens
        wide = torch.promote_types(self.q.dtype, torch.float32)
        q, k = self.q[:, :, start:stop].to(wide), self.k[:, :, :seen].to(wide)
        # Q K^T / sqrt(D)
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)  # (B, H, R, S)
        if causal:
            ahead = torch.ones(stop - start, stop - start, dtype=torch.bool, device=q.device).triu(1)
            scores[..., start:].masked_fill_(ahead, -math.inf)
        elif self.mask is not None:
            part = self.mask if self.mask.shape[2] == 1 else self.mask[:, :, start:stop]
            scores.masked_fill_(~part, -math.inf)
        return scores.softmax(-1)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """All rows in blocks: the first query of each, and its weights as in `rows`."""
        batch, heads, tokens, _ = self.q.shape
        size = max(1, BLOCK // (batch * heads * tokens))
        for start in range(0, tokens, size):
            yield start, self.rows(start, min(start + size, tokens))

    def reconstruction_error(self, start: int, weights: Tensor) -> float:
        """The largest |A V W_o + b - output| in the rows of a block that begins with query `start`."""
        v = self.v[:, :, : weights.shape[-1]]
        # A V in the model's own dtype, as the kernel returns it
        y = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # (B, H, R, D) to (B, R, W)
        linear = self.module.out
        output = F.linear(y, linear.weight, linear.bias)  # calling the module would run its hooks
        return float((output - self.output[:, start : start + y.shape[1]]).abs().max())


def attention_layers(model: nn.Module) -> list[MultiHeadAttention]:
    """The attention layers of a model. Raises RequestError if it has none."""
    found = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    if not found:
        raise RequestError(f"a {type(model).__name__} has no attention", "take a run of a BERT or a GPT")
    return found


@contextmanager
def capture_attention(model: nn.Module, visit: Callable[[CapturedLayer], None]) -> Iterator[None]:
    """A context in which `visit` is called with each attention layer right after the layer ran.

    The model's results stay the same, and its hooks are removed at the end.

    Raises:
        RequestError: the model has no attention.
    """
    projected: dict[MultiHeadAttention, Tensor] = {}
    handles: list[Any] = []

    def add_hooks(index: int, layer: MultiHeadAttention) -> None:
        def after_projection(_: nn.Module, __: Any, output: Tensor) -> None:
            projected[layer] = output

        def after_layer(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> None:
            mask, cache = (
                arguments[at] if len(arguments) > at else keywords.get(name) for at, name in ((1, "mask"), (2, "cache"))
            )
            if cache is not None:
                raise RequestError("attention is recorded for whole sequences, without a cache of keys and values")
            q, k, v = layer.split(projected.pop(layer))
            visit(CapturedLayer(index, layer, q, k, v, mask, output))

        handles.append(layer.qkv.register_forward_hook(after_projection))
        handles.append(layer.register_forward_hook(after_layer, with_kwargs=True))

    try:
        for index, layer in enumerate(attention_layers(model)):
            add_hooks(index, layer)
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def attention_weights(model: nn.Module, *inputs: Any, **keywords: Any) -> list[Tensor]:
    """The whole attention matrices of each layer for a batch, (B, H, T, T) each.

    Args:
        model: a GPT or a BERT.
        inputs: the arguments of the model's `hidden`.
        keywords: its keyword arguments.
    """
    matrices: list[Tensor] = []

    def visit(layer: CapturedLayer) -> None:
        blocks = [F.pad(rows, (0, layer.tokens - rows.shape[-1])) for _, rows in layer.blocks()]
        matrices.append(torch.cat(blocks, 2))

    with capture_attention(model, visit):
        model.hidden(*inputs, **keywords)  # pyright: ignore[reportCallIssue]
    return matrices
