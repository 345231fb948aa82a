"""Figures of entropy: the entropy of a coin by its bias, lengths of code words, entropy by order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlkit.information import measures
from dlkit.plotting import BLUE, VERMILION, make_axes, save_figure

MOST_BARS = 64


def bernoulli(target: Path, p: float, unit: str, base: float) -> None:
    """The entropy of a coin that shows heads with each probability, and that of the user's coin."""
    figure, axis = make_axes(5.0, 3.6)
    heads = np.linspace(0, 1, 401)
    axis.plot(heads, measures.entropy(np.stack([heads, 1 - heads], axis=-1), base), color=BLUE)
    mine = float(measures.entropy(np.array([p, 1 - p]), base))
    axis.plot([p], [mine], "o", color=VERMILION)
    axis.annotate(f"p = {p:.4g}: {mine:.4g} {unit}", (p, mine), (0.5, 0.12), ha="center", color=VERMILION)
    axis.set_xlabel("probability of the first outcome")
    axis.set_ylabel(f"entropy ({unit})")
    axis.set_title("entropy of a Bernoulli random variable")
    save_figure(figure, target)


def lengths(target: Path, symbols: Sequence[str], ideal: Sequence[float], words: Sequence[float], code: str) -> None:
    """Bars: the length of each symbol's word beside the ideal length -log2 p, the likeliest first."""
    order = sorted(range(len(symbols)), key=lambda index: ideal[index])[:MOST_BARS]
    figure, axis = make_axes(max(4.5, 0.28 * len(order) + 2), 3.6)
    places = np.arange(len(order))
    axis.bar(places - 0.2, [ideal[index] for index in order], 0.4, color=BLUE, label="ideal: -log2 p")
    if code:
        axis.bar(places + 0.2, [words[index] for index in order], 0.4, color=VERMILION, label=code)
    axis.set_xticks(places, [_shown(symbols[index]) for index in order])
    axis.set_ylabel("bits")
    axis.set_xlabel(
        "symbol, the likeliest first" + (f" ({MOST_BARS} of {len(symbols)})" if len(symbols) > MOST_BARS else "")
    )
    axis.set_title("length of code words")
    axis.legend(frameon=False)
    save_figure(figure, target)


def orders(target: Path, entropies: Sequence[float], corrected: Sequence[float], what: str, unit: str) -> None:
    """Entropy of a symbol by how many symbols before it are known."""
    figure, axis = make_axes(5.0, 3.6)
    places = range(len(entropies))
    axis.plot(places, entropies, "o-", color=BLUE, label="plug-in")
    axis.plot(places, corrected, "s--", color=VERMILION, label="Miller-Madow", markersize=4)
    axis.set_xticks(list(places))
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"order: {what} known before")
    axis.set_ylabel(f"entropy ({unit} each)")
    axis.set_title(f"entropy of {what}")
    axis.legend(frameon=False)
    save_figure(figure, target)


def _shown(symbol: str) -> str:
    """A symbol that can be seen."""
    shown = symbol if symbol.isprintable() and symbol.strip() else repr(symbol)[1:-1] or "''"
    return shown[:12]
