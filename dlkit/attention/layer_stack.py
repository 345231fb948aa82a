"""What the layers do together: attention rollout, and how much each token contributes to each layer's output.

Shapes: T tokens, L layers, H heads, R rows of a block, S keys that they see.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from dlkit.attention.metrics import HeadMetrics, TokenPositions
from dlkit.attention.rollout import Rollout


@dataclass(frozen=True)
class StackSummary:
    """The whole stack of layers on one text.

    Args:
        rollout: the metrics of each layer's rollout, (L,) each.
        effect: the metrics of the token contributions to each layer's output, (L,) each (see value_norms).
        sources: (L, T) the rollout of the target token: its shares of the input tokens.
        residual_attention: M of each layer, (T, T), for attention flow; empty unless requested.
    """

    rollout: dict[str, np.ndarray]
    effect: dict[str, np.ndarray]
    sources: np.ndarray
    residual_attention: list[np.ndarray] = field(default_factory=list[np.ndarray])


class StackAccumulator:
    """Builds a `StackSummary` as the layers run, from blocks of rows.

    Args:
        positions: the text.
        layers: L.
        target: the position whose sources are recorded.
        flow: also keep M of each layer, which attention flow needs.
    """

    def __init__(self, positions: TokenPositions, layers: int, target: int, flow: bool) -> None:
        tokens = len(positions.token_ids)
        self.target = target
        self.rollout = Rollout(tokens)
        self.rollout_metrics, self.effect_metrics = HeadMetrics(positions, layers, 1), HeadMetrics(positions, layers, 1)
        self.sources = np.zeros((layers, tokens))
        self.residual = [np.zeros((tokens, tokens), dtype=np.float32) for _ in range(layers)] if flow else []

    def update(self, layer: int, start: int, weights: Tensor, contributions: Tensor) -> None:
        """Add a block of rows: attention weights (H, R, S) and the layer's `contributions` (R, S)."""
        rows = self.rollout.update(start, weights)
        self.effect_metrics.update(layer, start, contributions[None])
        if self.residual:
            self.residual[layer][start : start + len(rows), : rows.shape[1]] = rows.numpy()

    def end_layer(self, layer: int) -> None:
        """Measure the rollout up to a layer whose rows have all been added."""
        matrix = self.rollout.matrix
        size = 1 << 8
        for start in range(0, len(matrix), size):
            rows = matrix[None, start : start + size].to(self.rollout_metrics.device)
            self.rollout_metrics.update(layer, start, rows)
        self.sources[layer] = matrix[self.target].numpy()

    def compute(self) -> StackSummary:
        """The summary, once all layers have run."""
        rollout, effect = (
            {name: value[:, 0] for name, value in metrics.compute().items()}
            for metrics in (self.rollout_metrics, self.effect_metrics)
        )
        return StackSummary(rollout, effect, self.sources, self.residual)
