"""Inspect one text: every head is captured, checked and measured in a single forward pass.

Shapes: T tokens, L layers, H heads.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.attention import value_norms
from dlkit.attention.capture import CapturedLayer, attention_layers, capture_attention
from dlkit.attention.layer_stack import StackAccumulator, StackSummary
from dlkit.attention.metrics import HeadMetrics, TokenPositions
from dlkit.errors import NotFiniteError
from dlkit.models.bert import BERT


@dataclass(frozen=True)
class TextInspection:
    """What the heads of a model do on one text.

    Args:
        scores: by metric, (L, H).
        reconstruction_error: the largest difference between a layer's output and what the recomputed weights give.
        layers: the captured layers, for `attention_matrices`; empty unless `keep_layers`.
        stack: what the layers do together; None unless a target token was given.
    """

    scores: dict[str, np.ndarray]
    reconstruction_error: float
    layers: list[CapturedLayer]
    stack: StackSummary | None = None


@torch.inference_mode()
def inspect_text(
    model: nn.Module,
    token_ids: Sequence[int],
    positions: TokenPositions,
    *,
    segments: Sequence[int] | None = None,
    by_value: bool = False,
    keep_layers: bool = False,
    target: int | None = None,
    flow: bool = False,
) -> TextInspection:
    """Run the model on a text and measure the attention of each head.

    Memory is that of the forward pass and one block of rows, plus whatever `keep_layers`, `target` and `flow` retain.

    Args:
        model: in evaluation mode.
        token_ids: the T token ids that the model reads.
        positions: the tokens that the metrics assume: the same ones, or others for a null distribution.
        segments: for a BERT, 0 in the first text and 1 in the second.
        by_value: weight attention by the norms of the value vectors (see value_norms).
        keep_layers: keep each layer's queries, keys and values, for `attention_matrices`.
        target: a position; computes `TextInspection.stack`, with this token traced back to the input.
        flow: with a target, keep what attention flow needs.

    Raises:
        RequestError: the model has no attention.
        DlkitError: there are more tokens than the model's context.
        NotFiniteError: a layer's output is NaN or infinite.
    """
    layers = attention_layers(model)
    device = next(model.parameters()).device
    positions = positions.to(device)
    metrics = HeadMetrics(positions, len(layers), layers[0].heads)
    stack = None if target is None else StackAccumulator(positions, len(layers), target, flow)
    error = 0.0
    kept: list[CapturedLayer] = []

    def visit(layer: CapturedLayer) -> None:
        nonlocal error
        gram = value_norms.value_gram(layer) if by_value or stack is not None else None
        for start, weights in layer.blocks():
            block_error = layer.reconstruction_error(start, weights)
            if not math.isfinite(block_error):  # `max` would drop a NaN
                raise NotFiniteError(f"the attention of layer {layer.index} is NaN or infinite")
            error = max(error, block_error)
            if stack is not None and gram is not None:
                stack.update(layer.index, start, weights[0], value_norms.layer_contributions(weights[0], gram))
            measured = weights[0] if gram is None or not by_value else value_norms.head_contributions(weights[0], gram)
            metrics.update(layer.index, start, measured)
        if stack is not None:
            stack.end_layer(layer.index)
        if keep_layers:
            kept.append(layer)

    with capture_attention(model, visit):
        hidden_states(model, token_ids, segments)
    return TextInspection(metrics.compute(), error, kept, None if stack is None else stack.compute())


def hidden_states(model: nn.Module, token_ids: Sequence[int], segments: Sequence[int] | None = None) -> Tensor:
    """A forward pass up to the last hidden states, (1, T, W): the logits are not needed here."""
    device = next(model.parameters()).device
    ids = torch.tensor([list(token_ids)], device=device)
    if isinstance(model, BERT) and segments is not None:
        return model.hidden(ids, torch.tensor([list(segments)], device=device))
    hidden: Any = model.hidden
    return hidden(ids)


@torch.inference_mode()
def attention_matrices(
    layers: Sequence[CapturedLayer],
    heads: Sequence[int],
    *,
    by_value: bool = False,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[np.ndarray]:
    """The attention of some heads of captured layers, one (T, T) float32 matrix at a time, heads changing fastest.

    Args:
        by_value: weight attention by the norms of the value vectors.
        start: the first position, of queries and of keys.
        stop: one past the last position; None for all.
    """
    for layer in layers:
        gram = value_norms.value_gram(layer) if by_value else None
        for head in heads:
            one = dataclasses.replace(layer, q=layer.q[:, [head]], k=layer.k[:, [head]])
            rows = torch.cat([F.pad(rows[0, 0], (0, layer.tokens - rows.shape[-1])) for _, rows in one.blocks()])
            if gram is not None:
                rows = value_norms.head_contributions(rows[None], gram[:, [head]][:, :, [head]])[0]
            yield rows[start:stop, start:stop].float().cpu().numpy()
