"""A figure of two distributions: p beside q, how long a code for each makes a symbol, and what each adds to KL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.information import measures
from dlkit.information.plots import MOST_BARS, name_symbols
from dlkit.information.units import unit_of
from dlkit.plotting import BLUE, ORANGE, VERMILION, make_panels, save_figure

Array = NDArray[np.float64]
_COLOURS = (BLUE, VERMILION, ORANGE)


def plot_divergence(
    target: Path, symbols: Sequence[str], p: Array, q: Array, base: float, code: tuple[str, Sequence[float]] | None
) -> None:
    """Plot two distributions over the same k symbols, the likeliest first.

    Of more than 32 symbols those are shown that add the most to KL[p || q].

    Args:
        target: an SVG, PNG or PDF file.
        symbols: their k names.
        p: (k,), which is compared.
        q: (k,), with which it is compared.
        base: of the logarithm.
        code: a code for p: its name, and the length in bits of each symbol's word.
    """
    terms = measures.relative_entropy_terms(p, q, base)
    weightiest = np.argsort(-np.abs(terms), kind="stable")[:MOST_BARS]
    shown: list[int] = sorted(weightiest.tolist(), key=lambda index: (-round(float(p[index]), 12), index))
    unit, x = unit_of(base), np.arange(len(shown), dtype=np.float64)
    figure, (chances, lengths, parts) = make_panels(max(5.2, 0.3 * len(shown) + 1.4), 7.2, rows=3, share_x=True)

    _draw_bars(chances, x, {"p": p[shown], "q": q[shown]})
    chances.set_ylabel("probability")

    bars = {
        f"for p: -log p, {_number(measures.shannon_entropy(p, base))} on average": _ideal_lengths(p[shown], base),
        f"for q: -log q, {_number(measures.cross_entropy(p, q, base))}": _ideal_lengths(q[shown], base),
    }
    if code is not None:
        name, words = code
        bars[f"{name}, for p"] = np.array(words)[shown] * math.log(2) / math.log(base)
    _draw_bars(lengths, x, bars)
    lengths.set_ylabel(f"code length ({unit})")

    mine = terms[shown]
    _draw_bars(parts, x, {"p > q": np.where(mine > 0, mine, np.nan), "p < q": np.where(mine < 0, mine, np.nan)}, True)
    parts.axhline(0, color="#444444", linewidth=0.8)
    parts.set_ylabel(f"p log(p/q) ({unit})")
    whole = f"KL[p || q] = {_number(measures.relative_entropy(p, q, base))} {unit}"
    if len(shown) == len(p):
        parts.set_title(f"{whole}, the sum of these", fontsize=10, loc="right")
    else:
        parts.set_title(f"{whole}; these make {_number(mine.sum())}", fontsize=10, loc="right")

    name_symbols(parts, [symbols[index] for index in shown])
    some = f" ({len(shown)} of {len(p):,}, those that add most)" if len(shown) < len(p) else ""
    parts.set_xlabel(f"symbol, the likeliest first{some}")
    save_figure(figure, target)


def _number(value: Any) -> str:
    return "\N{INFINITY}" if math.isinf(value) else f"{value:.4g}"


def _ideal_lengths(p: Array, base: float) -> Array:
    """-log p, infinite where p is 0."""
    with np.errstate(divide="ignore"):
        return -np.log(p) / math.log(base) + 0.0


def _draw_bars(axis: Any, x: Array, bars: dict[str, Array], over_each_other: bool = False) -> None:
    """Bars of each symbol, side by side unless there is one for each; without end, one is as high as there is room."""
    from matplotlib.patches import Patch

    width = 0.7 if over_each_other else 0.8 / len(bars)
    everything = np.concatenate(list(bars.values()))
    top = float(everything.max(initial=0.0, where=np.isfinite(everything))) * 1.15 or 1.0
    for index, heights in enumerate(bars.values()):
        at = x if over_each_other else x + (index - (len(bars) - 1) / 2) * width
        endless = np.isinf(heights)
        hatches = ["//" if without else "" for without in endless]
        drawn = np.where(endless, top, heights)
        axis.bar(at, drawn, width, color=_COLOURS[index], hatch=hatches, edgecolor="white", linewidth=0)
        for place in at[endless]:
            axis.text(place, top, "\N{INFINITY}", ha="center", va="bottom")
    if np.isinf(everything).any():
        axis.set_ylim(top=1.15 * top)
    axis.legend(
        handles=[Patch(color=colour, label=label) for colour, label in zip(_COLOURS, bars, strict=False)],
        loc="lower left", bbox_to_anchor=(-0.01, 1), borderaxespad=0.2, ncols=len(bars) if len(bars) < 3 else 1,
        handlelength=1.2, columnspacing=1.2, frameon=False, fontsize=9,
    )  # fmt: skip
