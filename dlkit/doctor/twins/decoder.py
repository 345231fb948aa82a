"""Generation with a GPT as in the fastest decoders in plain torch: 16-bit weights, a static KV cache, one graph.

A step takes the token's position as a tensor and attends to the whole cache through a mask, so every step has the same
shapes and can be compiled into one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.doctor.twins.transformer import PlainGPT


class PlainDecoder:
    """Greedy generation of one sequence.

    Args:
        model: in its final dtype and on its device.
        capacity: tokens that the cache holds.
        compiled: whether the step is compiled into one graph.
    """

    def __init__(self, model: PlainGPT, capacity: int, compiled: bool) -> None:
        self.model = model.eval()
        weight = model.wte.weight
        first: Any = model.h[0]
        heads: int = first.attn.heads
        shape = (len(model.h), 2, 1, heads, capacity, weight.shape[1] // heads)
        self.cache = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.mask = torch.ones(capacity, capacity, dtype=torch.bool, device=weight.device).tril()
        self.step: Callable[[Tensor, Tensor], Tensor] = self._step
        if compiled:
            for held in (self.cache, self.mask):  # at fixed addresses, which a graph may write to
                torch._dynamo.mark_static_address(held)  # pyright: ignore[reportPrivateImportUsage]
            self.step = torch.compile(self._step, mode="reduce-overhead", fullgraph=True)

    def _step(self, token: Tensor, position: Tensor) -> Tensor:
        """The likeliest token id, (1, 1), after `token`, (1, 1), at `position`, (1,)."""
        model, mask = self.model, self.mask[position][None, None]  # (1, 1, 1, capacity)
        x = model.wte(token) + model.wpe(position)
        for i, module in enumerate(model.h):
            block: Any = module
            attn = block.attn
            q, k, v = attn.c_attn(block.ln_1(x)).view(1, 1, 3, attn.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            keys, values = self.cache[i]
            keys.index_copy_(2, position, k)
            values.index_copy_(2, position, v)
            y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            x = x + attn.c_proj(y.transpose(1, 2).reshape(1, 1, -1))
            x = x + block.perceptron(block.ln_2(x))
        return model.lm_head(model.ln_f(x))[:, -1].argmax(-1, keepdim=True)

    @torch.no_grad()
    def generate(self, first: int, count: int) -> list[Tensor]:
        """`count` token ids after the first one, each (1, 1), without synchronizing."""
        device = self.mask.device
        token, position, found = (
            torch.tensor([[first]], device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
            [],
        )
        for _ in range(count):
            token = self.step(token, position).clone()
            position = position + 1
            found.append(token)
        return found
