"""Figures of attention: a grid of heads, one head with its tokens, scores over training steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.attention.page import AttentionPage, thumbnail
from dlkit.attention.token_display import display_line, display_token
from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, VERMILION, save

MOST_LABELS = 80  # as many tokens can be named along a matrix
_THUMBNAIL_ROWS = 192  # of a matrix in the grid, at most
_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK)
_DASHES = ("-", "--", ":", "-.")


def draw_attention(path: Path, page: AttentionPage, weights: Iterable[np.ndarray], measure: str | None) -> None:
    """Draw all heads as small matrices, or a single head with its tokens, as .png or .svg.

    Args:
        path: of the figure.
        page: the layers, heads, tokens and scores to show.
        weights: (T, T) for each side, layer and head, as for `write_page`; consumed one at a time.
        measure: the score that colours each matrix's frame and is written below it; None for none.
    """
    form = _single if page.shape[1:] == (1, 1) else _grid
    save(form(page, weights, measure), path)


def draw_scores_over_steps(path: Path, steps: Sequence[int], scores: Mapping[str, np.ndarray]) -> None:
    """Draw scores over training steps: a panel for each metric, a line for each head.

    Args:
        path: of the figure.
        steps: the S training steps.
        scores: by metric, (S, layers, heads).
    """
    figure = _figure(5.2 * len(scores) + 0.4, 3.8)
    axes = np.atleast_1d(figure.subplots(1, len(scores)))
    for axis, (name, values) in zip(axes, scores.items(), strict=True):
        layers, heads = values.shape[1:]
        # a colour for each layer, a dash pattern for each head
        for layer, head in itertools.product(range(layers), range(heads)):
            axis.plot(
                steps, values[:, layer, head], _DASHES[head % 4], color=_COLOURS[layer % 7], marker="o", markersize=3,
                linewidth=1.2, label=f"layer {layer}" if head == 0 else None,
            )  # fmt: skip
        if np.isfinite(values[-1]).any():  # name the head with the highest final score
            layer, head = np.unravel_index(np.nanargmax(values[-1]), (layers, heads))
            axis.annotate(
                f"layer {layer}, head {head}", (steps[-1], values[-1, layer, head]), (-4, 5),
                textcoords="offset points", ha="right", fontsize=8,
            )  # fmt: skip
        axis.set_title(display_line(name), fontsize=11)
        axis.set_xlabel("training step")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if len(steps) > 1:
            axis.margins(x=0.02)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=9)
    save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _colour_map(ramp: str) -> Any:
    """The page's colour maps, in which lightness alone encodes the value."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = {
        "weight": ["#f5f6f8", "#d5e6e7", "#93c8c8", "#4a9bab", "#2c6797", "#2b3272", "#1a1436"],
        "score": ["#f3ede3", "#f2cf9b", "#e59a4f", "#bf5f22", "#7c2f0f"],
    }
    return LinearSegmentedColormap.from_list(ramp, stops[ramp])


def _score(page: AttentionPage, measure: str | None, side: int, layer: int, head: int) -> str:
    return "" if measure is None else f"{page.scores[measure][side, layer, head]:.2f}"


def _grid(page: AttentionPage, weights: Iterable[np.ndarray], measure: str | None) -> Any:
    """Layers down, heads across; the second model of a comparison below the first."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    sides, layers, heads = page.shape
    shown = np.asarray(page.scores[measure], float) if measure is not None else np.full(page.shape, np.nan)
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scale = Normalize(low, high if high > low else low + 1)
    size = max(0.42, min(0.95, 11 / heads))
    figure = _figure(heads * size + 1.3, (layers * size * (1.22 if measure else 1.05) + 0.5) * sides + 0.7)
    figure.suptitle(display_line(page.title), fontsize=11)
    panels = np.atleast_1d(figure.subfigures(sides, 1))
    matrices = iter(weights)
    for side, panel in enumerate(panels):
        if sides > 1:
            panel.suptitle(display_line(page.sides[side]), fontsize=10)
        axes = panel.subplots(layers, heads, squeeze=False)
        for layer, head in itertools.product(range(layers), range(heads)):
            axis, small = axes[layer, head], thumbnail(next(matrices), _THUMBNAIL_ROWS)
            axis.imshow(small, cmap=_colour_map("weight"), vmin=0, vmax=255, interpolation="none")
            axis.set_xticks([])
            axis.set_yticks([])
            if measure is not None:
                value = shown[side, layer, head]
                colour = _colour_map("score")(scale(value)) if np.isfinite(value) else "#888888"
                axis.set_xlabel(_score(page, measure, side, layer, head), fontsize=7, labelpad=1.5, color="#333333")
                for spine in axis.spines.values():
                    spine.set(color=colour, linewidth=1.6)
            else:
                axis.spines[:].set(color="#cccccc", linewidth=0.6)
            if layer == 0:
                axis.set_title(str(page.heads[head]), fontsize=8, color="#555555")
            if head == 0:
                axis.set_ylabel(
                    str(page.layers[layer]), fontsize=8, color="#555555", rotation=0, ha="right", va="center"
                )
        if measure is not None and finite.size:
            bar = panel.colorbar(
                ScalarMappable(scale, _colour_map("score")), ax=axes, shrink=0.6, aspect=30, pad=0.01, fraction=0.03
            )
            bar.set_label(display_line(measure), fontsize=9)
            bar.ax.tick_params(labelsize=8)
            bar.outline.set_visible(False)
    return figure


def _single(page: AttentionPage, weights: Iterable[np.ndarray], measure: str | None) -> Any:
    """The matrix of one head of each model: queries down, keys across."""
    from matplotlib.colors import PowerNorm

    tokens, sides = len(page.tokens), page.shape[0]
    named = tokens <= MOST_LABELS
    size = min(9.0, max(3.2, 0.2 * tokens)) if named else 6.5
    figure = _figure((size + 1.9) * sides, size + 1.6)
    axes = np.atleast_1d(figure.subplots(1, sides))
    names = [display_token(token) for token in page.tokens]
    names = [name if len(name) <= 18 else name[:17] + "…" for name in names]
    for side, (axis, matrix) in enumerate(zip(axes, weights, strict=True)):
        # a square-root scale, so that the small weights of long texts are visible
        norm = PowerNorm(0.5, 0, max(float(matrix.max()), 1e-9))
        picture = axis.imshow(matrix, cmap=_colour_map("weight"), norm=norm, interpolation="none")
        where = f"layer {page.layers[0]}, head {page.heads[0]}"
        value = f"  {measure} {_score(page, measure, side, 0, 0)}" if measure else ""
        title = f"{display_line(page.sides[side]) if sides > 1 else display_line(page.title)}\n{where}{value}"
        axis.set_title(title, fontsize=10)
        if named:
            font = float(min(9, max(5, 72 * 0.8 * size / tokens)))
            for ticks, rotation in ((axis.set_xticks, 90), (axis.set_yticks, 0)):
                ticks(range(tokens), names, rotation=rotation, fontsize=font)
            axis.tick_params(length=0)
        axis.set_xlabel("key")
        axis.set_ylabel("query")
        axis.spines[:].set_visible(False)
        if page.split:
            for line in (axis.axhline, axis.axvline):
                line(page.split - 0.5, color="#b3500a", linewidth=0.8)
        bar = figure.colorbar(picture, ax=axis, shrink=0.7, aspect=30, pad=0.02)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
    return figure
