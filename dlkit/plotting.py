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

    _as_it_is(figure)
    kind = target.suffix.lower().removeprefix(".")
    with rc_context({"svg.hashsalt": "dlkit"}), whole_file(target) as file:
        figure.savefig(file, format=kind, metadata={"Date" if kind == "svg" else "Software": None}, dpi=150)


def _as_it_is(figure: Any) -> None:
    """Titles, legends and notes are text as it is: a run may be called `$x^$`. Ticks alone have formulas, of powers."""
    from matplotlib.text import Text

    axes_of: Any = [axis for part in figure.axes for axis in (part.xaxis, part.yaxis)]
    ticks = {id(text) for axis in axes_of for text in (*axis.get_ticklabels(which="both"), axis.get_offset_text())}
    for text in figure.findobj(Text):
        if id(text) not in ticks:
            text.set_parse_math(False)
            text.set_text(_encodable(text.get_text()))


def plain(text: str) -> str:
    """Text that matplotlib does not take for a formula, on a tick."""
    return _encodable(text).replace("$", r"\$")


def _encodable(text: str) -> str:
    """The text with the bytes of a file's name that are no text spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
