"""What all figures share: axes, colours that colour-blind readers tell apart, files that are the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlkit.whole_file import whole_file

# Okabe & Ito 2008, "Color Universal Design".
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PINK = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip


def axes(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure of this size in inches, and its axes: one, or an array of several side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    made: Any = figure.subplots(1, columns)
    for axis in made if columns > 1 else [made]:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    return figure, made


def save(figure: Any, target: Path) -> None:
    """Write a figure as SVG or PNG, by the suffix, the same every time: without the date, and with ids that stay."""
    from matplotlib import rc_context

    kind = target.suffix.lower().removeprefix(".")
    with rc_context({"svg.hashsalt": "dlkit"}), whole_file(target) as file:
        figure.savefig(file, format=kind, metadata={"Date" if kind == "svg" else "Software": None}, dpi=150)


def plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")
