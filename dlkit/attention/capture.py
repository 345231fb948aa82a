"""Recording attention in a model as it is: hooks see what goes through each layer, and its rows are computed again.

Fused kernels of attention return no weights. They need none to be switched off: the queries, keys and values that went
into the kernel are the output of `qkv`, and from them

    A = softmax(Q K^T / sqrt(D)), masked as the kernel masks

is computed in blocks of rows. That these are the kernel's weights is checked, not assumed: A V through the layer's last
projection must be the layer's real output.

Shapes: B sequences, T tokens, W = H D numbers a token, H heads of D numbers, R rows of a block.
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

BLOCK = 1 << 20  # weights of a block, all heads together: 4 MB, which stay in the processor's cache


@dataclass(frozen=True)
class Layer:
    """What one layer of attention did with a batch.

    Args:
        index: its number, from 0 in the order in which the layers ran.
        module: the layer.
        q: queries, (B, H, T, D), as the kernel got them.
        k: keys, likewise.
        v: values, likewise.
        mask: bool, broadcast to (B, 1, T, T), True where one may look; None where only causality hides.
        output: of the layer, (B, T, W), by its own kernel.
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
        """Weights of the queries `start` to `stop`, (B, H, R, S); a causal layer's S ends with the last query's own
        place, since all that follows is 0. In float32, or float64 where the model is in it, as kernels accumulate."""
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
        """All rows in blocks: where each begins, and its weights as from `rows`."""
        batch, heads, tokens, _ = self.q.shape
        size = max(1, BLOCK // (batch * heads * tokens))
        for start in range(0, tokens, size):
            yield start, self.rows(start, min(start + size, tokens))

    def difference(self, start: int, weights: Tensor) -> float:
        """The largest difference between the layer's output and A V, projected, in the rows of a block."""
        v = self.v[:, :, : weights.shape[-1]]
        # A V in the model's own number format, as the kernel hands it on
        y = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # (B, H, R, D) to (B, R, W)
        linear = self.module.out
        again = F.linear(y, linear.weight, linear.bias)  # not the module, which others may listen to
        return float((again - self.output[:, start : start + y.shape[1]]).abs().max())


def layers_of(model: nn.Module) -> list[MultiHeadAttention]:
    """The layers of attention of a model. Raises RequestError if it has none."""
    found = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    if not found:
        raise RequestError(f"a {type(model).__name__} has no attention", "take a run of a BERT or a GPT")
    return found


@contextmanager
def listening(model: nn.Module, visit: Callable[[Layer], None]) -> Iterator[None]:
    """While this is open, `visit` sees each layer of attention right behind its forward pass. The model stays as it is.

    Raises:
        RequestError: the model has no attention.
    """
    projected: dict[MultiHeadAttention, Tensor] = {}
    handles: list[Any] = []

    def watch(index: int, layer: MultiHeadAttention) -> None:
        def keep(_: nn.Module, __: Any, output: Tensor) -> None:
            projected[layer] = output

        def tell(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> None:
            mask, cache = (
                arguments[place] if len(arguments) > place else keywords.get(name)
                for place, name in ((1, "mask"), (2, "cache"))
            )
            if cache is not None:
                raise RequestError("attention is recorded for whole sequences, without a cache of keys and values")
            q, k, v = layer.split(projected.pop(layer))
            visit(Layer(index, layer, q, k, v, mask, output))

        handles.append(layer.qkv.register_forward_hook(keep))
        handles.append(layer.register_forward_hook(tell, with_kwargs=True))

    try:
        for index, layer in enumerate(layers_of(model)):
            watch(index, layer)
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def weights_of(model: nn.Module, *inputs: Any, **keywords: Any) -> list[Tensor]:
    """All weights of each layer for a batch, (B, H, T, T) each. Takes what the model's `hidden` takes."""
    whole: list[Tensor] = []

    def visit(layer: Layer) -> None:
        parts = [F.pad(rows, (0, layer.tokens - rows.shape[-1])) for _, rows in layer.blocks()]
        whole.append(torch.cat(parts, 2))

    with listening(model, visit):
        model.hidden(*inputs, **keywords)  # pyright: ignore[reportCallIssue]
    return whole
