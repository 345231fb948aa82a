"""One decoding step as a fixed list of kernels: on a GPU, a CUDA graph that is replayed.

A step of `EagerDecoder` launches some 15 kernels per layer from Python, which takes longer than a GPU needs to run
them. Here every shape is fixed, and what changes from step to step is held in tensors: the token of each sequence, the
slot of the cache that it fills, the slot at which each sequence begins. Attention covers all slots, and those that are
not visible are masked; so one recording serves every step. Every step reads all weights from memory, so fewer bytes
(bfloat16) mean less time.

Shapes: B sequences, H heads of width D, W = H D the model's width, C slots of the cache, V vocabulary.
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

_WARM_UP = 2  # steps before a recording: libraries allocate their workspaces in the first

Tail = Callable[[Tensor], Any]
Function = Callable[[Tensor], Tensor]
Weights = tuple[Tensor, ...]
Plan = tuple[int, bool, float]


class StaticDecoder:
    """A GPT with its key-value cache, and the step from one token to the tail's result for the next.

    Args:
        model: in evaluation mode; its weights must not change meanwhile.
        cache: of the tokens so far; each step adds one.
        tail: a function of the logits (B, V), made of kernels alone; each step overwrites the last one's result.
        fused: use the kernels of `gpt_decode_step`, for one sequence; None for yes if they support the model and run.
    """

    def __init__(self, model: GPT, cache: Cache, tail: Tail, *, fused: bool | None = None) -> None:
        self.model, self.cache, self._tail = model, cache, tail
        device, sequences = cache.memory.device, cache.memory.shape[2]
        cache.memory.zero_()  # masked values are multiplied by 0, so they must be finite
        first: Any = model.blocks[0]
        self._plan: Plan = (first.attention.heads, first.norm_first, first.attention_norm.eps)
        self._activation: Function = first.mlp[1]
        self._weights = [block_weights(block) for block in model.blocks]
        self.tokens = torch.zeros(sequences, dtype=torch.int64, device=device)  # the last token of each sequence
        self.slot = torch.zeros(1, dtype=torch.int64, device=device)  # the slot that they fill
        self.begins = torch.zeros(sequences, dtype=torch.int64, device=device)  # the first slot of each sequence
        self._slots = torch.arange(cache.capacity, device=device)  # (C,)
        self._fused = None
        if _runs_triton(device) if fused is None else fused:
            from dlkit.lm import gpt_decode_step

            if gpt_decode_step.supports_fused_step(model, sequences):
                self._fused = gpt_decode_step.FusedStep(model, cache, self.tokens, self.slot, self.begins)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Any = None
        self._at = 0  # what `slot` holds
        self._begun: tuple[Any, int] | None = None  # what `begins` was made from

    def step(self, tokens: Tensor, padding: Tensor | None = None, first: int = 0) -> Any:
        """Add a token to each sequence; returns the tail's result for the token after it.

        The arguments are those of `EagerDecoder.step`. Does not synchronize with the device.
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
        result = self._replay() if self.tokens.is_cuda else self.run()
        self._at = end + 1
        for layer in self.cache.layers:
            layer.length = end + 1
        return result

    def run(self) -> Any:
        """Launch the kernels of a step; the last of them increments `slot`."""
        result = self._tail(self._logits() if self._fused is None else self._fused.logits())
        self.slot += 1
        return result

    def _logits(self) -> Tensor:
        """The logits (B, V), by torch's operators."""
        model = self.model
        # visible are the tokens of each sequence from its first to this one
        hidden = (self._slots > self.slot) | (self._slots < self.begins[:, None])  # (B, C)
        mask = torch.zeros_like(hidden, dtype=self.cache.memory.dtype).masked_fill_(hidden, -math.inf)[:, None]
        positions = (self.slot - self.begins).clamp_(min=0)  # (B,)
        x = F.embedding(self.tokens, model.tokens.weight) + F.embedding(positions, model.positions.weight)  # (B, W)
        for weights, layer in zip(self._weights, self.cache.memory, strict=True):
            x = block_step(x, mask, self.slot, layer, weights, self._activation, self._plan)
        return model.head(model.norm(x))

    def _replay(self) -> Any:
        if self._graph is None:
            self._record()
        assert self._graph is not None
        self._graph.replay()
        return self._result

    def _record(self) -> None:
        """Run a step a few times on a side stream, then record one. The first replay overwrites the slot it wrote."""
        slot = self.slot.clone()
        with cuda_graphs.on_side_stream(torch.cuda.Stream()):
            for _ in range(_WARM_UP):
                self.run()
                self.slot.copy_(slot)
        graph = torch.cuda.CUDAGraph()
        with cuda_graphs.capture_graph(graph):
            self._result = self.run()
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
        mask: the attention mask, (B, 1, C), 0 for visible slots and -inf elsewhere.
        slot: (1,) int64, of the cache, which this token fills.
        layer: the cache of this block, (2, B, H, C, D).
        weights: of `block_weights`.
        activation: of the MLP.
        plan: the number of heads, whether the block is pre-norm, and the norms' eps.
    """
    norm_1, bias_1, of_qkv, bias_qkv, of_out, bias_out, norm_2, bias_2, of_up, bias_up, of_down, bias_down = weights
    heads, norm_first, eps = plan
    width = x.shape[-1:]
    h = F.layer_norm(x, width, norm_1, bias_1, eps) if norm_first else x
    q_k_v = F.linear(h, of_qkv, bias_qkv).view(len(x), 3, heads, -1)  # (B, 3, H, D)
    layer.index_copy_(3, slot, q_k_v[:, 1:].transpose(0, 1).unsqueeze(3))
    y = F.linear(attend_one_query(q_k_v[:, 0], layer, mask).flatten(1), of_out, bias_out)  # (B, W)
    if norm_first:
        x = x + y
        h = F.layer_norm(x, width, norm_2, bias_2, eps)
        return x + F.linear(activation(F.linear(h, of_up, bias_up)), of_down, bias_down)
    x = F.layer_norm(x + y, width, norm_1, bias_1, eps)
    y = F.linear(activation(F.linear(x, of_up, bias_up)), of_down, bias_down)
    return F.layer_norm(x + y, width, norm_2, bias_2, eps)


def block_weights(block: Any) -> Weights:
    """Weight and bias of each layer of a block: first norm, q k v, output projection, second norm, MLP up and down."""
    attention, (up, _, down) = block.attention, block.mlp
    layers = (block.attention_norm, attention.qkv, attention.out, block.mlp_norm, up, down)
    return tuple(tensor.detach() for layer in layers for tensor in (layer.weight, layer.bias))


def attend_one_query(q: Tensor, layer: Tensor, mask: Tensor) -> Tensor:
    """softmax(q K^T / sqrt(D) + mask) V for one query per sequence: (B, H, D), (2, B, H, C, D), (B, 1, C) to (B, H, D).

    Written out because fused attention runs a single query on so few of a GPU's multiprocessors that separate kernels
    on all of them are faster.
    """
    sequences, heads, width = q.shape
    keys, values = layer.flatten(1, 2).unbind(0)  # (B H, C, D)
    mask = mask.expand(-1, heads, -1).reshape(sequences * heads, 1, -1) if sequences > 1 else mask
    # A = softmax(Q K^T / sqrt(D) + mask)
    scores = torch.baddbmm(mask, q.reshape(-1, 1, width), keys.mT, alpha=1 / math.sqrt(width))  # (B H, 1, C)
    return torch.bmm(scores.softmax(-1), values).view(sequences, heads, width)
