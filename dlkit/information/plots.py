"""Figures: the entropy of a Bernoulli variable, the lengths of code words, conditional entropy by order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import RequestError
from dlkit.information import measures
from dlkit.information.code_records import MOST_WORDS
from dlkit.plotting import BLUE, VERMILION, make_axes, save_figure

MOST_BARS = 32


def plot_bernoulli_entropy(target: Path, p: float, unit: str, base: float) -> None:
    """Plot the entropy of a Bernoulli variable over its probability, and mark that of p."""
    figure, axis = make_axes(5.0, 3.6)
    heads = np.linspace(0, 1, 401)
    axis.plot(heads, measures.shannon_entropy(np.stack([heads, 1 - heads], axis=-1), base), color=BLUE)
    mine = float(measures.shannon_entropy(np.array([p, 1 - p]), base))
    axis.plot([p], [mine], "o", color=VERMILION)
    axis.annotate(f"p = {p:.4g}: {mine:.4g} {unit}", (p, mine), (0.5, 0.12), ha="center", color=VERMILION)
    axis.set_xlabel("probability of the first outcome")
    axis.set_ylabel(f"entropy ({unit})")
    axis.set_title("entropy of a Bernoulli random variable")
    save_figure(figure, target)


def plot_code_lengths(
    target: Path, symbols: Sequence[str], ideal: Sequence[float], words: Sequence[float], code: str
) -> None:
    """Plot the length of each symbol's code word beside the ideal length -log2 p, most likely symbols first."""
    likeliest = sorted(range(len(symbols)), key=lambda index: ideal[index])[:MOST_BARS]
    figure, axis = make_axes(max(4.5, 0.28 * len(likeliest) + 2), 3.6)
    x, width = np.arange(len(likeliest)), 0.4 if code else 0.7
    axis.bar(x - 0.2 * bool(code), [ideal[index] for index in likeliest], width, color=BLUE, label="ideal: -log2 p")
    if code:
        axis.bar(x + 0.2, [words[index] for index in likeliest], width, color=VERMILION, label=code)
    name_symbols(axis, [symbols[index] for index in likeliest])
    axis.set_ylabel("bits")
    axis.set_xlabel(
        "symbol, the likeliest first" + (f" ({MOST_BARS} of {len(symbols)})" if len(symbols) > MOST_BARS else "")
    )
    axis.set_title("length of code words")
    axis.legend(frameon=False)
    save_figure(figure, target)


def plot_code(target: Path, code: dict[str, Any]) -> None:
    """Plot a code's record. Raises RequestError where its words are too many to be written out."""
    words = code_words(code)
    ideal = [-math.log2(word["p"]) for word in words]
    lengths = [word["length"] for word in words]
    plot_code_lengths(target, [word["symbol"] for word in words], ideal, lengths, code["name"])


def code_words(code: dict[str, Any]) -> list[dict[str, Any]]:
    """The words of a code's record. Raises RequestError where they are too many to be written out."""
    if "words" not in code:
        raise RequestError(f"`plot`: more than {MOST_WORDS:,} symbols", "leave `plot` out")
    return code["words"]


def plot_entropy_by_order(
    target: Path, entropies: Sequence[float], corrected: Sequence[float], what: str, unit: str
) -> None:
    """Plot the conditional entropy of a symbol over the order: how many preceding symbols are known."""
    figure, axis = make_axes(5.0, 3.6)
    k = range(len(entropies))
    axis.plot(k, entropies, "o-", color=BLUE, label="plug-in")
    axis.plot(k, corrected, "s--", color=VERMILION, label="Miller-Madow", markersize=4)
    axis.set_xticks(list(k))
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"order: {what} known before")
    axis.set_ylabel(f"entropy ({unit} each)")
    axis.set_title(f"entropy of {what}")
    axis.legend(frameon=False)
    save_figure(figure, target)


def name_symbols(axis: Any, symbols: Sequence[str]) -> None:
    """Name the symbols along an axis, upright where there is room for that."""
    names = [_printable(symbol) for symbol in symbols]
    upright = max(map(len, names)) <= (4 if len(names) > 16 else 6)
    axis.set_xticks(range(len(names)), names, rotation=0 if upright else 90)
    axis.set_xlim(-0.6, len(names) - 0.4)


def _printable(symbol: str) -> str:
    """A symbol with whatever is invisible escaped, cut to 12 characters."""
    shown = symbol if symbol.isprintable() and symbol.strip() else repr(symbol)[1:-1] or "''"
    return shown[:12]
