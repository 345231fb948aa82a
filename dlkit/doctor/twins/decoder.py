"""Generating with a GPT as the fastest decoders in plain torch do: 16-bit weights, a cache of fixed size, one graph.

A step takes the place of the token as a tensor and looks at the whole cache through a mask, so that every step is the
same work and can be compiled into one graph of kernels.
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
        model: in its final type, on its device.
        capacity: tokens of the cache.
        compiled: whether the step becomes one graph.
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
            for held in (self.cache, self.mask):  # they stay where they are, so that a graph may change them
                torch._dynamo.mark_static_address(held)  # pyright: ignore[reportPrivateImportUsage]
            self.step = torch.compile(self._step, mode="reduce-overhead", fullgraph=True)

    def _step(self, token: Tensor, place: Tensor) -> Tensor:
        """The likeliest token (1, 1) after `token`, (1, 1), which stands at `place`, (1,)."""
        model, mask = self.model, self.mask[place][None, None]  # (1, 1, 1, capacity)
        x = model.wte(token) + model.wpe(place)
        for i, module in enumerate(model.h):
            block: Any = module
            attn = block.attn
            q, k, v = attn.c_attn(block.ln_1(x)).view(1, 1, 3, attn.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            keys, values = self.cache[i]
            keys.index_copy_(2, place, k)
            values.index_copy_(2, place, v)
            y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            x = x + attn.c_proj(y.transpose(1, 2).reshape(1, 1, -1))
            x = x + block.perceptron(block.ln_2(x))
        return model.lm_head(model.ln_f(x))[:, -1].argmax(-1, keepdim=True)

    @torch.no_grad()
    def generate(self, first: int, count: int) -> list[Tensor]:
        """The tokens behind a first one; none is waited for."""
        device = self.mask.device
        token, place, found = (
            torch.tensor([[first]], device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
            [],
        )
        for _ in range(count):
            token = self.step(token, place).clone()
            place = place + 1
            found.append(token)
        return found
