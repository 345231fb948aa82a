"""Shared by all figures: axes, a colour-blind safe palette, reproducible files."""

from __future__ import annotations

import textwrap
import unicodedata
import warnings
from pathlib import Path
from typing import Any

from dlkit.storage.atomic_file import atomic_file, require_target

# Figure formats, and the metadata by which matplotlib would make two equal figures differ.
_METADATA = {"svg": ("Date",), "png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer")}

# Okabe & Ito 2008, "Color Universal Design".
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PINK = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip


def make_axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure of `width` x `height` inches, and its axes."""
    figure, (axis,) = make_panels(width, height)
    return figure, axis


def make_panels(
    width: float, height: float, rows: int = 1, columns: int = 1, share_x: bool = False
) -> tuple[Any, list[Any]]:
    """A figure of `width` x `height` inches, and its axes row by row.

    Text is 10 points high, so on a telephone, 320 pixels wide, it can be read in a figure of up to 7 inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    made: list[Any] = list(figure.subplots(rows, columns, sharex=share_x, squeeze=False).flat)
    for axis in made:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    if share_x:
        figure.align_ylabels(made)
    return figure, made


def require_figure(option: str, path: Path | None) -> None:
    """Check before the work that the figure of an option can be written; raises as `require_target` does."""
    if path is not None:
        require_target(option, path, tuple(f".{kind}" for kind in _METADATA))


def save_figure(figure: Any, target: Path) -> None:
    """Write a figure reproducibly as SVG, PNG or PDF, by the suffix: without dates, with fixed ids.

    Texts are drawn literally; characters that no font has are shown as boxes. Long titles are broken into lines.
    """
    from matplotlib import rc_context

    kind = target.suffix.lower().removeprefix(".")
    _draw_texts_literally(figure)
    _break_titles(figure)
    with rc_context({"svg.hashsalt": "dlkit"}), warnings.catch_warnings(), atomic_file(target) as file:
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        figure.savefig(file, format=kind, metadata=dict.fromkeys(_METADATA[kind]), dpi=150)


def svg_text(figure: Any) -> str:
    """A figure as SVG for a page, without background: its texts are texts, in a font of the page's reader."""
    import io

    from matplotlib import rc_context

    _draw_texts_literally(figure)
    target = io.StringIO()
    with rc_context({"svg.hashsalt": "dlkit", "svg.fonttype": "none"}):
        metadata = dict.fromkeys(_METADATA["svg"])
        figure.savefig(target, format="svg", metadata=metadata, transparent=True, bbox_inches="tight", pad_inches=0.03)
    return target.getvalue()


def _draw_texts_literally(figure: Any) -> None:
    """Disable mathtext in all texts (`$x^$` may be the name of a run), except for tick labels."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    ticks_drawn: set[int] = set()
    for axis in figure.findobj(Axis):
        ticks_drawn.add(id(axis.get_offset_text()))
        major = axis.get_major_formatter(), axis.get_major_ticks()
        minor = axis.get_minor_formatter(), axis.get_minor_ticks()
        for formatter, ticks in (major, minor):
            if isinstance(formatter, (LogFormatter, ScalarFormatter)):
                ticks_drawn |= {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if id(text) not in ticks_drawn:
            text.set_parse_math(False)
            text.set_text(drawable_text(text.get_text()))
        text.set_usetex(False)


def _break_titles(figure: Any) -> None:
    """Break titles that are wider than their figure, or than their column of it: a run may have any name."""
    titles: list[tuple[Any, int]] = []  # the text, and the columns that share the figure's width
    for part in (figure, *figure.subfigs):
        titles += [(text, 1) for text in part.texts if text.get_text() == part.get_suptitle()]
    for axis in figure.axes:
        spec = axis.get_subplotspec()
        titles.append((axis.title, spec.get_gridspec().ncols if spec is not None else 1))
    for title, columns in titles:
        # a character is about 0.6 of its font's size wide; an inch has 72 points
        fits = max(8, int(0.9 * 72 * figure.get_figwidth() / columns / (0.6 * title.get_fontsize())))
        lines = [line for whole in title.get_text().split("\n") for line in textwrap.wrap(whole, fits) or [""]]
        title.set_text("\n".join(lines))


def drawable_text(text: str) -> str:
    """A text with characters that no figure file can hold escaped: control characters and lone surrogates.

    `save_figure` does this to all texts but categorical tick labels, which matplotlib sets anew from their data.
    """
    hidden = ("Cc", "Cs", "Cn")
    return "".join(
        c.encode("unicode_escape").decode() if c != "\n" and unicodedata.category(c) in hidden else c for c in text
    )
