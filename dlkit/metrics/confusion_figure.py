"""The confusion matrix of an evaluation as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dlkit.plotting import drawable_text, make_axes, save_figure

_NAMED, _COUNTED = 60, 20  # up to so many classes, the matrix shows names, and counts in its cells
_LONGEST = 24  # characters of a name


def draw_confusion_matrix(matrix: Tensor, classes: Sequence[str], target: Path, title: str) -> None:
    """Draw a (K, K) matrix of counts as SVG, PNG or PDF: true classes down, cells shaded by their share of the row."""
    counts = matrix.numpy()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    named = len(classes) <= _NAMED
    names = [drawable_text(_shortened(name)) for name in classes] if named else []
    upright = max((len(name) for name in names), default=0) < 3
    side = 2.5 + 0.35 * min(len(classes), _NAMED)
    figure, axis = make_axes(side, side)
    axis.grid(visible=False)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if named:
        axis.set_xticks(range(len(names)), names, rotation=0 if upright else 90)
        axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_title(title)
    if len(classes) <= _COUNTED:
        for row, column in zip(*counts.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    save_figure(figure, target)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
