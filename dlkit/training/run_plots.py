"""The learning curves of a run, from its metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlkit.plotting import BLUE, GREEN, VERMILION, make_panels, save_figure

_COLOURS = {"train": BLUE, "val": VERMILION, "test": GREEN}
_DASHES = {"train": "-", "val": "--", "test": "-."}
_LABELS = {"loss": "loss (nats)", "accuracy": "accuracy", "lr": "learning rate"}


def plot_learning_curves(metrics: Path, target: Path, title: str) -> None:
    """Plot loss, accuracy and learning rate over steps, as far as they were logged, one below the other."""
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    drawn = {name: curves for name in _LABELS if (curves := _curves(records, name))}
    figure, axes = make_panels(5.4, 1.0 + 2.0 * max(len(drawn), 1), rows=max(len(drawn), 1), share_x=True)
    for axis, (name, curves) in zip(axes, drawn.items(), strict=False):
        for split, points in curves.items():
            colour, dashes = _COLOURS.get(split, "#555555"), _DASHES.get(split, "-")
            marker = "o" if len(points) == 1 else None  # a line needs two points
            axis.plot(*zip(*points, strict=True), dashes, color=colour, label=split, linewidth=1.3, marker=marker)
        if name != "lr":
            axis.legend(frameon=False)
        axis.set_ylabel(_LABELS[name])
    axes[-1].set_xlabel("step")
    figure.suptitle(title)
    save_figure(figure, target)


def _curves(records: list[dict[str, Any]], name: str) -> dict[str, list[tuple[int, float]]]:
    """Split -> (step, value) of a metric; the learning rate has no split."""
    keys = {"": "lr"} if name == "lr" else {split: f"{split}/{name}" for split in _COLOURS}
    found = {split: [(r["step"], r[key]) for r in records if r.get(key) is not None] for split, key in keys.items()}
    return {split: points for split, points in found.items() if points}
