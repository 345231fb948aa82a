"""A sheet of images: those that a model is trained on, as augmented, beside those that it is evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dlkit.plotting import make_panels, save_figure

COLUMNS, ROWS = 6, 6
_LONGEST = 10  # characters of a class above an image


@dataclass(frozen=True)
class SheetImages:
    """Images (N, C, H, W) in [0, 1], and the name of the class of each; of mixed images both."""

    pixels: Tensor
    labels: Sequence[str]


def draw_contact_sheet(panels: Mapping[str, SheetImages], target: Path, title: str) -> None:
    """Draw a panel for each set of images, at most 36 of each, side by side, as SVG, PNG or PDF."""
    figure, axes = make_panels(4.6 * len(panels), 5.4, columns=len(panels))
    for axis, (name, images) in zip(axes, panels.items(), strict=True):
        axis.set_axis_off()
        axis.set_title(name)
        for index, (image, label) in enumerate(zip(images.pixels, images.labels, strict=False)):
            if index < ROWS * COLUMNS:
                _place(axis, image, label, *divmod(index, COLUMNS))
        axis.set_xlim(0, COLUMNS)
        axis.set_ylim(ROWS * 1.18, 0)
        axis.set_aspect("equal")
    figure.suptitle(title)
    save_figure(figure, target)


def _place(axis: Any, image: Tensor, label: str, row: int, column: int) -> None:
    """One image (C, H, W) in its cell, its class above it."""
    pixels = image.clamp(0, 1).permute(1, 2, 0).numpy()  # (H, W, C)
    left, top = column + 0.04, row * 1.18 + 0.2
    shown = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    axis.imshow(
        shown, extent=(left, left + 0.92, top + 0.92, top), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    short = label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
    axis.text(left + 0.46, top - 0.03, short, ha="center", va="bottom", fontsize=8)
