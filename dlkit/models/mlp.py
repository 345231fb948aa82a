"""The multilayer perceptron as a classifier."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlkit.annotations import Count, Rate
from dlkit.models import check_shapes
from dlkit.nn.activations import Activation
from dlkit.nn.mlp import MLP
from dlkit.nn.norm import Norm


class MLPClassifier(nn.Module):
    """Flatten, then a multilayer perceptron: (N, *input_shape) to logits (N, num_classes). Rumelhart et al. 1986.

    Args:
        hidden: width of each hidden layer; without any, the model is logistic regression.
        activation: non-linearity after each hidden layer.
        norm: normalization before each activation.
        dropout: probability that a hidden activation is zeroed in training.

    Raises:
        RequestError: an empty example, no classes, or invalid arguments of `MLP`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        hidden: tuple[Count, ...] = (128,),
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        check_shapes(input_shape, num_classes)
        features = math.prod(input_shape)
        self.mlp = MLP(features, num_classes, hidden=hidden, activation=activation, norm=norm, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x.flatten(1))  # (N, F), then (N, K)
