"""Test-time augmentation: the logits of a model averaged over several views of each image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.training.settings import TestViews


def averaged_logits(model: nn.Module, images: Tensor, views: TestViews) -> Tensor:
    """Mean logits (N, K) of a model over views of images (N, C, H, W).

    Args:
        model: gives logits.
        images: normalised.
        views: "one" is the image itself; "flip" adds its mirror image (Krizhevsky et al. 2012); "flip_shift" also adds
            both shifted by a pixel up left and down right, with half of the weight (Jordan 2024, arXiv:2404.00498).
    """
    if views == "one":
        return model(images)
    straight = _mirror(model, images)
    if views == "flip":
        return straight
    # 1/2 f(x) + 1/4 (f(x up left) + f(x down right)), each the mean over both mirror images
    padded = F.pad(images, (1,) * 4, "reflect")  # (N, C, H + 2, W + 2)
    height, width = images.shape[2:]
    moved = (padded[:, :, :height, :width], padded[:, :, 2:, 2:])
    return 0.5 * straight + 0.25 * sum(_mirror(model, view) for view in moved)


def _mirror(model: nn.Module, images: Tensor) -> Tensor:
    # (f(x) + f(mirror x)) / 2
    return (model(images) + model(images.flip(-1))) / 2
