"""Models. `Model(input_shape, num_classes, *, <recipe keys>)`, with a forward that returns logits (N, num_classes).

`input_shape` is one example's: (C, H, W) for images, (F,) for rows.
"""

from __future__ import annotations

import math

from dlkit.errors import RequestError


def check_shapes(input_shape: tuple[int, ...], num_classes: int, *, images_only: bool = False) -> None:
    """Raise RequestError if no model can be built: empty examples, no classes, or rows where images are needed."""
    if images_only and len(input_shape) != 3:
        raise RequestError(
            f"this model needs images (channels, height, width), got examples of shape {tuple(input_shape)}",
            "set model.name=mlp, which takes any shape",
        )
    if math.prod(input_shape) < 1 or min(input_shape, default=1) < 1:
        raise RequestError(f"an example of shape {tuple(input_shape)} holds no numbers")
    if num_classes < 1:
        raise RequestError(f"a classifier needs at least 1 class, got {num_classes}")


def check_stages(depths: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Raise RequestError unless there is a positive depth and width for each stage."""
    if len(depths) != len(widths):
        raise RequestError(
            f"depths has {len(depths)} stages, widths has {len(widths)}: {tuple(depths)}, {tuple(widths)}",
            "give one depth and one width a stage",
        )
    if not depths or min(*depths, *widths) < 1:
        raise RequestError(
            f"every stage needs a block and a channel, got depths = {tuple(depths)}, widths = {tuple(widths)}"
        )
