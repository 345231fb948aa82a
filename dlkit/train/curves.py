"""Draw a run's learning curves from its metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_COLOURS = {"train": "#0072b2", "val": "#d55e00", "test": "#009e73"}  # Okabe & Ito: told apart by colour-blind readers


def draw(metrics: Path, target: Path, title: str) -> None:
    """Write an SVG with the loss, the accuracy and the learning rate over steps."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    with rc_context({"svg.hashsalt": "dlkit", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(9, 3), layout="constrained")
        axes: Any = figure.subplots(1, 3)
        for axis, name, label in ((axes[0], "loss", "loss (nats)"), (axes[1], "accuracy", "accuracy")):
            for split, colour in _COLOURS.items():
                key = f"{split}/{name}"
                points = [(r["step"], r[key]) for r in records if r.get(key) is not None]
                if points:
                    axis.plot(*zip(*points, strict=True), color=colour, label=split, linewidth=1.2)
            axis.set_xlabel("step")
            axis.set_title(label)
            axis.legend(frameon=False)
        rates = [(r["step"], r["lr"]) for r in records if "lr" in r]
        if rates:
            axes[2].plot(*zip(*rates, strict=True), color="#555555", linewidth=1.2)
        axes[2].set_xlabel("step")
        axes[2].set_title("learning rate")
        figure.suptitle(title)
        figure.savefig(target, metadata={"Date": None})


def confusion(matrix: Any, classes: tuple[str, ...], target: Path, title: str) -> None:
    """Write an SVG of a (K, K) confusion matrix: rows are true classes, shaded by their share of the row."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = matrix.numpy()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    side = 2.5 + 0.35 * min(len(classes), 60)
    with rc_context({"svg.hashsalt": "dlkit", "font.size": 8}):
        figure = Figure(figsize=(side, side), layout="constrained")
        axis: Any = figure.subplots()
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(classes)) if len(classes) <= 60 else []
        axis.set_xticks(ticks, [_plain(classes[i]) for i in ticks], rotation=0 if max(map(len, classes)) < 3 else 90)
        axis.set_yticks(ticks, [_plain(classes[i]) for i in ticks])
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class")
        axis.set_title(title)
        if len(classes) <= 20:
            for (row, column), count in _cells(counts):
                if count:
                    colour = "white" if shares[row, column] > 0.5 else "black"
                    axis.text(column, row, str(count), ha="center", va="center", color=colour)
        figure.colorbar(image, label="share of the true class", shrink=0.8)
        figure.savefig(target, metadata={"Date": None})


def _plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def _cells(counts: Any) -> Any:
    from numpy import ndenumerate

    return ndenumerate(counts)
