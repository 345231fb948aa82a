"""Plots of a run: its learning curves, from metrics.jsonl, and the confusion matrix of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlkit.plotting import BLUE, GREEN, VERMILION, drawable_text, make_axes, save_figure

_COLOURS = {"train": BLUE, "val": VERMILION, "test": GREEN}
_NAMED, _COUNTED = 60, 20  # most classes of which a matrix shows the names, and the counts in its cells


def plot_learning_curves(metrics: Path, target: Path, title: str) -> None:
    """Plot loss, accuracy and learning rate over steps as an SVG."""
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure, (losses, accuracies, rates) = make_axes(9.5, 3.2, columns=3)
    for axis, name, label in ((losses, "loss", "loss (nats)"), (accuracies, "accuracy", "accuracy")):
        for split, colour in _COLOURS.items():
            key = f"{split}/{name}"
            points = [(r["step"], r[key]) for r in records if r.get(key) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, label=split, linewidth=1.2)
                axis.legend(frameon=False)
        axis.set_title(label)
    points = [(r["step"], r["lr"]) for r in records if "lr" in r]
    if points:
        rates.plot(*zip(*points, strict=True), color="#555555", linewidth=1.2)
    rates.set_title("learning rate")
    for axis in (losses, accuracies, rates):
        axis.set_xlabel("step")
    figure.suptitle(title)
    save_figure(figure, target)


def plot_confusion_matrix(matrix: Any, classes: tuple[str, ...], target: Path, title: str) -> None:
    """Plot a (K, K) confusion matrix as an SVG: rows are true classes, cells are shaded by their share of the row."""
    counts = matrix.numpy()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    side = 2.5 + 0.35 * min(len(classes), _NAMED)
    figure, axis = make_axes(side, side)
    axis.grid(visible=False)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [drawable_text(name) for name in classes] if len(classes) <= _NAMED else []
    axis.set_xticks(range(len(names)), names, rotation=0 if max(map(len, classes)) < 3 else 90)
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
