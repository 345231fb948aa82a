"""What all figures share: axes, colours that colour-blind readers tell apart, files that are the same every time."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path
from typing import Any

from dlkit.storage.atomic_file import atomic_file, require_target

# What a figure can be written as, and which of matplotlib's remarks in it would differ from one time to the next.
_REMARKS = {"svg": ("Date",), "png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer")}

# Okabe & Ito 2008, "Color Universal Design".
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PINK = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip


def make_axes(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """A figure of this size in inches, and its axes: one, or an array of several side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    made: Any = figure.subplots(1, columns)
    for axis in made if columns > 1 else [made]:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    return figure, made


def require_figure(option: str, path: Path | None) -> None:
    """Raise before the work where the figure that an option asks for could not be written, as `require_target` does."""
    if path is not None:
        require_target(option, path, tuple(f".{kind}" for kind in _REMARKS))


def save_figure(figure: Any, target: Path) -> None:
    """Write a figure as SVG, PNG or PDF, by the suffix, the same every time: without the date, with ids that stay.

    All its texts are drawn as they are; characters that no font here has are shown as boxes.
    """
    from matplotlib import rc_context

    kind = target.suffix.lower().removeprefix(".")
    _take_texts_as_they_are(figure)
    with rc_context({"svg.hashsalt": "dlkit"}), warnings.catch_warnings(), atomic_file(target) as file:
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        figure.savefig(file, format=kind, metadata=dict.fromkeys(_REMARKS[kind]), dpi=150)


def _take_texts_as_they_are(figure: Any) -> None:
    """Make no text of a figure a formula (`$x^$` may be the name of a run), but for the numbers along its axes."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    numbers: set[int] = set()
    for axis in figure.findobj(Axis):
        numbers.add(id(axis.get_offset_text()))
        major = axis.get_major_formatter(), axis.get_major_ticks()
        minor = axis.get_minor_formatter(), axis.get_minor_ticks()
        for formatter, ticks in (major, minor):
            if isinstance(formatter, (LogFormatter, ScalarFormatter)):
                numbers |= {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if id(text) not in numbers:
            text.set_parse_math(False)
            text.set_text(drawable_text(text.get_text()))
        text.set_usetex(False)


def drawable_text(text: str) -> str:
    """A text with what no figure file can hold spelled out: control characters and halves of surrogate pairs.

    `save` does it to all texts but the names along axes, which matplotlib takes afresh from where they were given.
    """
    hidden = ("Cc", "Cs", "Cn")
    return "".join(
        c.encode("unicode_escape").decode() if c != "\n" and unicodedata.category(c) in hidden else c for c in text
    )
