"""The multilayer perceptron, as a block of other models."""

from __future__ import annotations

from torch import nn

from dlkit.annotations import Count, Rate
from dlkit.errors import RequestError
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.dropout import Dropout
from dlkit.nn.linear import Linear
from dlkit.nn.norm import Norm, norm_layer


class MLP(nn.Sequential):
    """Hidden layers of linear, norm, activation, dropout, then a linear layer: (N, in_features) to (N, out_features).

    A linear layer before a norm has no bias, since the norm has one.

    Args:
        in_features: size of the input.
        out_features: size of the output.
        hidden: width of each hidden layer; without any, the block is one linear layer.
        activation: non-linearity after each hidden layer.
        norm: normalization before each activation.
        dropout: probability that a hidden activation is zeroed in training.

    Raises:
        RequestError: a width below 1, an unknown activation or norm, a dropout outside [0, 1).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: tuple[Count, ...] = (128,),
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: Rate = 0.0,
    ) -> None:
        layers: list[nn.Module] = []
        for width in hidden:
            if width < 1:
                raise RequestError(f"a hidden layer must have at least 1 unit, got hidden = {tuple(hidden)}")
            layers.append(Linear(in_features, width, bias=norm == "none"))  # (N, width)
            if norm != "none":
                layers.append(norm_layer(norm, width, 1))
            layers.append(activation_layer(activation, inplace=True))
            if dropout:
                layers.append(Dropout(dropout))
            in_features = width
        layers.append(Linear(in_features, out_features))  # (N, out_features)
        super().__init__(*layers)
