"""A small plain convolutional network."""

from __future__ import annotations

from torch import Tensor, nn

from dlkit.annotations import Count, Rate
from dlkit.errors import RequestError
from dlkit.models import check_shapes
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.dropout import Dropout
from dlkit.nn.linear import Linear
from dlkit.nn.norm import Norm, norm_layer


class CNN(nn.Module):
    """Stages of 3x3 convolution, norm, activation and 2x2 max-pooling, then the mean over pixels and a linear layer.

    (N, C, H, W) to logits (N, num_classes). LeCun et al. 1998; the mean over pixels is Lin et al., arXiv:1312.4400.

    Args:
        channels: channels of each stage; every stage halves height and width.
        norm: normalization after each convolution.
        activation: non-linearity of each stage.
        dropout: probability that a feature is zeroed before the last layer in training.

    Raises:
        RequestError: not images, no stage, a stage without channels, or images too small for the number of stages.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        channels: tuple[Count, ...] = (32, 64),
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        check_shapes(input_shape, num_classes, images_only=True)
        width, image_height, image_width = input_shape
        if not channels or min(channels) < 1:
            raise RequestError(f"every stage needs at least 1 channel, got channels = {tuple(channels)}")
        stages = min(image_height, image_width).bit_length() - 1
        if len(channels) > stages:
            raise RequestError(
                f"a {image_height}x{image_width} image cannot be halved {len(channels)} times, once for each of"
                f" channels = {tuple(channels)}",
                f"give at most {stages} channels" if stages else "set model.name=mlp",
            )
        self.stages = (("features",), ("fc",))
        layers: list[nn.Module] = []
        for out_channels in channels:
            layers.append(Conv2d(width, out_channels, 3, padding=1, bias=norm == "none"))  # (N, O, H, W)
            if norm != "none":
                layers.append(norm_layer(norm, out_channels, 2))
            layers.append(activation_layer(activation, inplace=True))
            layers.append(nn.MaxPool2d(2))  # (N, O, H // 2, W // 2)
            width = out_channels
        self.features = nn.Sequential(*layers)
        self.dropout = Dropout(dropout)
        self.fc = Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, O, H', W')
        x = x.mean((2, 3))  # (N, O)
        return self.fc(self.dropout(x))  # (N, K)
