"""The learning curves of a run, from its metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

from dlkit.plotting import BLUE, GREEN, VERMILION, make_axes, save_figure

_COLOURS = {"train": BLUE, "val": VERMILION, "test": GREEN}


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
