"""Models as graphs of raw inputs: fixed preprocessing is part of the graph, so that it cannot be forgotten.

Shapes: N inputs, C channels, H rows, W columns of pixels, F features, T tokens, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class PixelGraph(nn.Module):
    """Pixels (N, C, H, W) uint8 to logits (N, K).

    Args:
        model: of normalised images.
        mean: (C,), in the unit of the pixels.
        std: (C,), likewise.
        answer: from the model and normalised images to logits, such as the mean over an image and its mirror image.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, mean: Tensor, std: Tensor, answer: Callable[[nn.Module, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.model, self.answer = model, answer
        self.register_buffer("mean", mean.float()[:, None, None])  # (C, 1, 1)
        self.register_buffer("std", std.float()[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return self.answer(self.model, (pixels.float() - self.mean) / self.std)


class RowGraph(nn.Module):
    """Rows (N, F) float64, in the unit of the table, to logits (N, K), or to numbers (N,) float64 in their unit.

    Args:
        model: of standardized rows.
        mean: (F,).
        std: (F,).
        target: mean and deviation of the numbers that a regression predicts; None of a classifier.
    """

    half_mean: Tensor
    half_std: Tensor
    target: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor, target: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.model, self.of_classes = model, target is None
        # a tensor, since exporters round plain numbers to float32
        self.register_buffer("target", torch.tensor(target or (0.0, 1.0), dtype=torch.float64))
        # halves, as in `dlkit.data.dataset.standardize`: the difference of two numbers may be too large for float64
        self.register_buffer("half_mean", mean.double() / 2)
        self.register_buffer("half_std", std.double() / 2)

    def forward(self, rows: Tensor) -> Tensor:
        # (x - mean) / std in float64; only the result is rounded
        outputs = self.model(((rows * 0.5 - self.half_mean) / self.half_std).float())
        if self.of_classes:
            return outputs
        mean, std = self.target.unbind()
        # y = mean + std z
        return mean + std * outputs[:, 0].double()


class EncoderGraph(nn.Module):
    """A BERT under the input names of transformers: each (N, T) int64, the mask 1 for text and 0 for padding."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids, token_type_ids, attention_mask.to(torch.bool))


class DecoderGraph(nn.Module):
    """A GPT under the input name of transformers: (N, T) int64 to logits of the token after each, (N, T, V)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model(input_ids)
