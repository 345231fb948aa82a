"""One look at one text: every layer recorded, checked and measured as the model reads it once.

Shapes: T tokens, L layers, H heads.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.attention import flow, value_norms
from dlkit.attention.capture import Layer, layers_of, listening
from dlkit.attention.metrics import Places, Scores
from dlkit.errors import NotFiniteError
from dlkit.models.bert import BERT


@dataclass(frozen=True)
class Stack:
    """What the layers do together, for one text.

    Args:
        rollout: measures of the rollout down to the text, (L,) each.
        effect: measures of the norms of what each whole layer carries, (L,) each.
        sources: (L, T) the rollout of the target token.
        shares: M of each layer, (T, T), to let flow run; empty where it was not asked for.
    """

    rollout: dict[str, np.ndarray]
    effect: dict[str, np.ndarray]
    sources: np.ndarray
    shares: list[np.ndarray] = field(default_factory=list[np.ndarray])


@dataclass(frozen=True)
class Look:
    """What was seen.

    Args:
        scores: by measure, (L, H).
        difference: the largest one between a layer's real output and that of the weights computed again.
        layers: to take weights from, where they were to be kept.
        stack: what the layers do together, where it was asked for.
    """

    scores: dict[str, np.ndarray]
    difference: float
    layers: list[Layer]
    stack: Stack | None = None


@torch.inference_mode()
def look(
    model: nn.Module,
    numbers: Sequence[int],
    places: Places,
    *,
    segments: Sequence[int] | None = None,
    by_value: bool = False,
    keep: bool = False,
    target: int | None = None,
    shares: bool = False,
) -> Look:
    """Let the model read tokens and measure what its heads do.

    Memory is that of the forward pass and of a block of rows, unless more is to be kept.

    Args:
        model: in evaluation mode.
        numbers: the T tokens that it reads.
        places: what the measures take them for: the same tokens, or others for a null.
        segments: for a BERT, 0 in the first text and 1 in the second.
        by_value: measure attention weighted by the norms of the values.
        keep: keep queries and keys, for `matrices`.
        target: a token, to look at the layers together and follow this one down to the text.
        shares: keep the layers' mean weights too, for flow.

    Raises:
        RequestError: the model has no attention.
        DlkitError: more tokens than it takes.
        NotFiniteError: what a layer computes is NaN or infinite.
    """
    layers = layers_of(model)
    device = next(model.parameters()).device
    places = dataclasses.replace(places, tokens=places.tokens.to(device), special=places.special.to(device))
    scores = Scores(places, len(layers), layers[0].heads)
    together = None if target is None else _Together(places, len(layers), target, shares)
    difference = 0.0
    kept: list[Layer] = []

    def visit(layer: Layer) -> None:
        nonlocal difference
        inner = value_norms.products(layer) if by_value or together is not None else None
        for start, weights in layer.blocks():
            here = layer.difference(start, weights)
            if not math.isfinite(here):  # `max` would leave a NaN out
                raise NotFiniteError(f"the attention of layer {layer.index} is NaN or infinite")
            difference = max(difference, here)
            if together is not None and inner is not None:
                together.add(layer.index, start, weights[0], value_norms.layer_effects(weights[0], inner))
            measured = weights[0] if inner is None or not by_value else value_norms.head_effects(weights[0], inner)
            scores.add(layer.index, start, measured)
        if together is not None:
            together.end(layer.index)
        if keep:
            kept.append(layer)

    with listening(model, visit):
        read(model, numbers, segments)
    return Look(scores.result(), difference, kept, None if together is None else together.result())


def read(model: nn.Module, numbers: Sequence[int], segments: Sequence[int] | None = None) -> Tensor:
    """One forward pass without the last layer, whose logits are of no use here: (1, T, W)."""
    device = next(model.parameters()).device
    tokens = torch.tensor([list(numbers)], device=device)
    if isinstance(model, BERT) and segments is not None:
        return model.hidden(tokens, torch.tensor([list(segments)], device=device))
    hidden: Any = model.hidden
    return hidden(tokens)


@torch.inference_mode()
def matrices(
    layers: Sequence[Layer], heads: Sequence[int], *, by_value: bool = False, start: int = 0, stop: int | None = None
) -> Iterator[np.ndarray]:
    """The weights of some heads of kept layers, one (T, T) float32 at a time, the head changing fastest.

    Args:
        by_value: weighted by the norms of the values.
        start: the first token, of queries and of keys.
        stop: behind the last one.
    """
    for layer in layers:
        inner = value_norms.products(layer) if by_value else None
        for head in heads:
            one = dataclasses.replace(layer, q=layer.q[:, [head]], k=layer.k[:, [head]])
            rows = torch.cat([F.pad(rows[0, 0], (0, layer.tokens - rows.shape[-1])) for _, rows in one.blocks()])
            if inner is not None:
                rows = value_norms.head_effects(rows[None], inner[:, [head]][:, :, [head]])[0]
            yield rows[start:stop, start:stop].float().cpu().numpy()


class _Together:
    """Sums up what the layers do together."""

    def __init__(self, places: Places, layers: int, target: int, shares: bool) -> None:
        tokens = len(places.tokens)
        self.target = target
        self.rollout = flow.Rollout(tokens)
        self.measured, self.effect = Scores(places, layers, 1), Scores(places, layers, 1)
        self.sources = np.zeros((layers, tokens))
        self.shares = [np.zeros((tokens, tokens), dtype=np.float32) for _ in range(layers)] if shares else []

    def add(self, layer: int, start: int, weights: Tensor, effect: Tensor) -> None:
        self.rollout.add(start, weights)
        self.effect.add(layer, start, effect[None])
        if self.shares:
            rows = flow.shares(start, weights).numpy()
            self.shares[layer][start : start + len(rows), : rows.shape[1]] = rows

    def end(self, layer: int) -> None:
        matrix = self.rollout.matrix
        size = 1 << 8
        for start in range(0, len(matrix), size):
            self.measured.add(layer, start, matrix[None, start : start + size].to(self.measured.device))
        self.sources[layer] = matrix[self.target].numpy()

    def result(self) -> Stack:
        rollout, effect = (
            {name: value[:, 0] for name, value in scores.result().items()} for scores in (self.measured, self.effect)
        )
        return Stack(rollout, effect, self.sources, self.shares)
