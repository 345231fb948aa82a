"""One more token of each sequence as a fixed list of kernels: on a GPU, one CUDA graph that is replayed.

A step of `decoding.Decoder` launches some 15 kernels a layer from Python, which takes a GPU longer than to run them.
Here every shape is fixed and what changes lies in tensors: the token of each sequence, the slot of the cache that it
fills, where each sequence begins. All slots are looked at, and those that hold nothing in view are masked; so one
recording serves every step. Weights are read once a step and must come from memory, so fewer bytes (bfloat16) are less
time.

Shapes: B sequences, W = H D numbers a token, H heads of D numbers, C slots of the cache, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.kernels import cuda_graphs
from dlkit.models.gpt import GPT
from dlkit.nn.cache import Cache

_WARM_UP = 2  # steps before a recording: libraries make their workspaces at the first

Tail = Callable[[Tensor], Any]
Function = Callable[[Tensor], Tensor]
Weights = tuple[Tensor, ...]
Plan = tuple[int, bool, float]


class StaticDecoder:
    """A GPT in evaluation mode, its cache, and the step from one token to what is made of the logits of the next.

    Args:
        model: whose weights stay as they are meanwhile.
        cache: of the tokens so far; each step adds one.
        tail: of kernels alone, (B, V) to whatever a step is to give; its result is overwritten by the next step.
        fused: take the kernels of `decode_kernels`, for one sequence; null for where they suit and run.
    """

    def __init__(self, model: GPT, cache: Cache, tail: Tail, *, fused: bool | None = None) -> None:
        self.model, self.cache, self._tail = model, cache, tail
        device, sequences = cache.memory.device, cache.memory.shape[2]
        cache.memory.zero_()  # what is masked is multiplied by 0, so it must be a number
        first: Any = model.blocks[0]
        self._plan: Plan = (first.attention.heads, first.norm_first, first.attention_norm.eps)
        self._activation: Function = first.mlp[1]
        self._weights = [weights_of(block) for block in model.blocks]
        self.tokens = torch.zeros(sequences, dtype=torch.int64, device=device)  # the last of each
        self.slot = torch.zeros(1, dtype=torch.int64, device=device)  # that they fill
        self.begins = torch.zeros(sequences, dtype=torch.int64, device=device)  # the first slot of each sequence
        self._slots = torch.arange(cache.capacity, device=device)  # (C,)
        self._fused = None
        if _runs_triton(device) if fused is None else fused:
            from dlkit.lm import gpt_decode_step

            if gpt_decode_step.suits(model, sequences):
                self._fused = gpt_decode_step.FusedStep(model, cache, self.tokens, self.slot, self.begins)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: Any = None
        self._at = 0  # what `slot` holds
        self._begun: tuple[Any, int] | None = None  # what `begins` was made from

    def step(self, tokens: Tensor, padding: Tensor | None = None, first: int = 0) -> Any:
        """What the tail makes of the logits of the token after `tokens`, (B,) int64, which join the cache.

        Arguments as in `decoding.Decoder.step`. Nothing waits for the device.
        """
        end = self.cache.length
        if end >= self.cache.capacity:
            raise ValueError(f"{end + 1} tokens do not fit into a cache of {self.cache.capacity}")
        self.tokens.copy_(tokens)
        if self._at != end:
            self.slot.fill_(end)
        if self._begun is None or self._begun[0] is not padding or self._begun[1] != first:
            self.begins.fill_(first) if padding is None else self.begins.copy_(padding + first)
            self._begun = padding, first
        given = self._replay() if self.tokens.is_cuda else self.run()
        self._at = end + 1
        for layer in self.cache.layers:
            layer.length = end + 1
        return given

    def run(self) -> Any:
        """The kernels of a step, in order; the last of them moves `slot` on."""
        given = self._tail(self._logits() if self._fused is None else self._fused.logits())
        self.slot += 1
        return given

    def _logits(self) -> Tensor:
        """(B, V), by torch's operators."""
        model = self.model
        # what is in view of each sequence: from its first token to this one
        hidden = (self._slots > self.slot) | (self._slots < self.begins[:, None])  # (B, C)
        mask = torch.zeros_like(hidden, dtype=self.cache.memory.dtype).masked_fill_(hidden, -math.inf)[:, None]
        places = (self.slot - self.begins).clamp_(min=0)  # (B,)
        x = F.embedding(self.tokens, model.tokens.weight) + F.embedding(places, model.positions.weight)  # (B, W)
        for weights, layer in zip(self._weights, self.cache.memory, strict=True):
            x = block_step(x, mask, self.slot, layer, weights, self._activation, self._plan)
        return model.head(model.norm(x))

    def _replay(self) -> Any:
        if self._graph is None:
            self._record()
        assert self._graph is not None
        self._graph.replay()
        return self._given

    def _record(self) -> None:
        """Run a step a few times aside, then record one. The slot it writes is written anew by the first replay."""
        slot = self.slot.clone()
        with cuda_graphs.on_side_stream(torch.cuda.Stream()):
            for _ in range(_WARM_UP):
                self.run()
                self.slot.copy_(slot)
        graph = torch.cuda.CUDAGraph()
        with cuda_graphs.capture_graph(graph):
            self._given = self.run()
        self.slot.copy_(slot)
        self._graph = graph


def _runs_triton(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    from torch.utils._triton import has_triton

    return has_triton()


def block_step(
    x: Tensor, mask: Tensor, slot: Tensor, layer: Tensor, weights: Weights, activation: Function, plan: Plan
) -> Tensor:
    """One token of each sequence through a block, (B, W) to (B, W): the equations of `TransformerBlock`.

    Args:
        x: (B, W).
        mask: (B, 1, C), 0 where one may look and -inf elsewhere.
        slot: (1,) int64, of the cache, which this token fills.
        layer: the cache of this block, (2, B, H, C, D).
        weights: as `weights_of` gives them.
        activation: of the perceptron.
        plan: heads, whether the norms come first, and their eps.
    """
    norm_1, bias_1, of_qkv, bias_qkv, of_out, bias_out, norm_2, bias_2, of_up, bias_up, of_down, bias_down = weights
    heads, norm_first, eps = plan
    width = x.shape[-1:]
    h = F.layer_norm(x, width, norm_1, bias_1, eps) if norm_first else x
    parts = F.linear(h, of_qkv, bias_qkv).view(len(x), 3, heads, -1)  # (B, 3, H, D)
    layer.index_copy_(3, slot, parts[:, 1:].transpose(0, 1).unsqueeze(3))
    y = F.linear(attend(parts[:, 0], layer, mask).flatten(1), of_out, bias_out)  # (B, W)
    if norm_first:
        x = x + y
        h = F.layer_norm(x, width, norm_2, bias_2, eps)
        return x + F.linear(activation(F.linear(h, of_up, bias_up)), of_down, bias_down)
    x = F.layer_norm(x + y, width, norm_1, bias_1, eps)
    y = F.linear(activation(F.linear(x, of_up, bias_up)), of_down, bias_down)
    return F.layer_norm(x + y, width, norm_2, bias_2, eps)


def weights_of(block: Any) -> Weights:
    """Weight and bias of a block's first norm, queries with keys and values, output, second norm and perceptron."""
    attention, (up, _, down) = block.attention, block.mlp
    layers = (block.attention_norm, attention.qkv, attention.out, block.mlp_norm, up, down)
    return tuple(tensor.detach() for layer in layers for tensor in (layer.weight, layer.bias))


def attend(q: Tensor, layer: Tensor, mask: Tensor) -> Tensor:
    """softmax(q K^T / sqrt(D) + mask) V of one query a sequence: (B, H, D), (2, B, H, C, D), (B, 1, C) to (B, H, D).

    Written out, since fused attention gives a query of one row to so few of a GPU's cores that three products on all of
    them are faster.
    """
    sequences, heads, width = q.shape
    keys, values = layer.flatten(1, 2).unbind(0)  # (B H, C, D)
    mask = mask.expand(-1, heads, -1).reshape(sequences * heads, 1, -1) if sequences > 1 else mask
    # A = softmax(Q K^T / sqrt(D) + mask)
    scores = torch.baddbmm(mask, q.reshape(-1, 1, width), keys.mT, alpha=1 / math.sqrt(width))  # (B H, 1, C)
    return torch.bmm(scores.softmax(-1), values).view(sequences, heads, width)
