"""Figures of attention: a grid of heads, one head with its tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.attention.page import AttentionPage, block_maxima
from dlkit.attention.token_display import display_line, display_token
from dlkit.plotting import save_figure

MOST_LABELS = 80  # as many tokens can be named along a matrix
_GRID_ROWS = 192  # of a matrix in the grid, at most
_LONGEST = 18  # characters of a token
_POINTS = 72  # an inch
_WEIGHT = "attention weight"
_RAMPS = {  # the page's, in which lightness alone encodes the value
    "weight": ["#f5f6f8", "#d5e6e7", "#93c8c8", "#4a9bab", "#2c6797", "#2b3272", "#1a1436"],
    "score": ["#f3ede3", "#f2cf9b", "#e59a4f", "#bf5f22", "#7c2f0f"],
}


def draw_attention(path: Path, page: AttentionPage, weights: Iterable[np.ndarray], measure: str | None) -> None:
    """Draw all heads as small matrices, or a single head with its tokens, as SVG, PNG or PDF.

    Args:
        path: of the figure.
        page: the layers, heads, tokens and scores to show.
        weights: (T, T) for each side, layer and head, as for `write_page`; consumed one at a time.
        measure: the score that colours each matrix's frame and is written below it; None for none.
    """
    form = _single if page.shape[1:] == (1, 1) else _grid
    save_figure(form(page, weights, measure), path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _colour_map(ramp: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(ramp, _RAMPS[ramp])


def _weight_scale(largest: float) -> Any:
    """A square-root scale, so that the small weights of long texts are visible."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, max(largest, 1e-9))


def _add_scale(figure: Any, scale: Any, ramp: str, label: str, axes: Any) -> None:
    """A bar that says which colour is which value."""
    from matplotlib.cm import ScalarMappable

    mappable = ScalarMappable(scale, _colour_map(ramp))
    bar = figure.colorbar(mappable, ax=axes, shrink=0.8, aspect=25, pad=0.02, fraction=0.05)
    bar.set_label(display_line(label), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _score(page: AttentionPage, measure: str | None, side: int, layer: int, head: int) -> str:
    return "" if measure is None else f"{page.scores[measure][side, layer, head]:.2f}"


def _names(tokens: Sequence[str]) -> list[str]:
    names = [display_token(token) for token in tokens]
    return [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]


def _name_tokens(axis: Any, tokens: Sequence[str], size: float, sides: str = "xy") -> None:
    """Name the tokens along a matrix of `size` inches, or number some of them where there is no room for names."""
    font = min(9.0, 0.8 * _POINTS * size / len(tokens))
    named = len(tokens) <= MOST_LABELS and font >= 4.5
    if named:
        positions, texts = range(len(tokens)), _names(tokens)
    else:  # of a matrix that may be shown in blocks
        font, most = 7.0, max(2, int(4 * size))
        step = next(step for step in _STEPS if len(tokens) <= most * step)
        positions = range(0, len(tokens), step)
        texts = [str(position) for position in positions]
    for side in sides:
        ticks, rotation = (axis.set_xticks, 90 if named else 0) if side == "x" else (axis.set_yticks, 0)
        ticks(positions, texts, rotation=rotation, fontsize=font)
    axis.tick_params(length=0 if named else 2, pad=2)


_STEPS = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]


def _grid(page: AttentionPage, weights: Iterable[np.ndarray], measure: str | None) -> Any:
    """Layers down, heads across; the second model of a comparison below the first."""
    from matplotlib.colors import Normalize

    sides, layers, heads = page.shape
    tokens = len(page.tokens)
    shown = np.asarray(page.scores[measure], float) if measure is not None else np.full(page.shape, np.nan)
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    frames = Normalize(low, high if high > low else low + 1)
    blocks = [block_maxima(matrix, _GRID_ROWS) for matrix in weights]
    scale = _weight_scale(max(float(matrix.max()) for matrix in blocks))
    matrices = iter(blocks)
    size = max(0.42, min(1.7, 6.6 / heads))
    figure = _figure(heads * size + 2.2, (layers * size * (1.22 if measure else 1.05) + 0.9) * sides + 0.5)
    figure.suptitle(display_line(page.title), fontsize=11)
    panels = np.atleast_1d(figure.subfigures(sides, 1))
    for side, panel in enumerate(panels):
        if sides > 1:
            panel.suptitle(display_line(page.sides[side]), fontsize=10)
        panel.supxlabel("head; in each matrix keys run to the right", fontsize=9)
        panel.supylabel("layer; queries run down", fontsize=9)
        axes = panel.subplots(layers, heads, squeeze=False)
        for layer, head in itertools.product(range(layers), range(heads)):
            axis = axes[layer, head]
            # the corners of the first and the last token, whatever the number of blocks
            extent = (-0.5, tokens - 0.5, tokens - 0.5, -0.5)
            axis.imshow(next(matrices), cmap=_colour_map("weight"), norm=scale, extent=extent, interpolation="none")
            axis.set_xticks([])
            axis.set_yticks([])
            if layer == layers - 1:
                _name_tokens(axis, page.tokens, size, "x")
            if head == 0:
                _name_tokens(axis, page.tokens, size, "y")
            if measure is not None:
                value = shown[side, layer, head]
                colour = _colour_map("score")(frames(value)) if np.isfinite(value) else "#888888"
                axis.set_xlabel(_score(page, measure, side, layer, head), fontsize=8, labelpad=1.5, color="#333333")
                axis.spines[:].set(color=colour, linewidth=1.8)
            else:
                axis.spines[:].set(color="#cccccc", linewidth=0.6)
            if layer == 0:
                axis.set_title(str(page.heads[head]), fontsize=9)
            if head == 0:
                axis.set_ylabel(str(page.layers[layer]), fontsize=9, rotation=0, ha="right", va="center")
        _add_scale(panel, scale, "weight", _WEIGHT, axes)
        if measure is not None and finite.size:
            _add_scale(panel, frames, "score", f"{measure} (frame)", axes)
    return figure


def _single(page: AttentionPage, weights: Iterable[np.ndarray], measure: str | None) -> Any:
    """The matrix of one head of each model: queries down, keys across."""
    tokens, sides = len(page.tokens), page.shape[0]
    named = tokens <= MOST_LABELS
    size = min(9.0, max(3.2, 0.2 * tokens)) if named else 6.0
    # a name's characters are about 0.6 of its font's size wide
    room = 0.6 * 9 / _POINTS * max(map(len, _names(page.tokens))) if named else 0.3
    figure = _figure((size + room + 0.5) * sides + 0.9, size + room + 1.3)
    axes = np.atleast_1d(figure.subplots(1, sides))
    matrices = list(weights)
    scale = _weight_scale(max(float(matrix.max()) for matrix in matrices))
    for side, (axis, matrix) in enumerate(zip(axes, matrices, strict=True)):
        axis.imshow(matrix, cmap=_colour_map("weight"), norm=scale, interpolation="none")
        where = f"layer {page.layers[0]}, head {page.heads[0]}"
        value = f": {measure} {_score(page, measure, side, 0, 0)}" if measure else ""
        title = display_line(page.sides[side] if sides > 1 else page.title)
        axis.set_title(f"{title}\n{where}{value}", fontsize=10)
        _name_tokens(axis, page.tokens, size)
        axis.set_xlabel("key: the token that is attended to")
        axis.set_ylabel("query: the token that attends")
        axis.spines[:].set_visible(False)
        if page.split:
            for line in (axis.axhline, axis.axvline):
                line(page.split - 0.5, color="#b3500a", linewidth=0.8)
    _add_scale(figure, scale, "weight", _WEIGHT, axes)
    return figure
