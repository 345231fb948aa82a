"""A figure of how the scores of heads change over the steps of a run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlkit.attention.token_display import display_line
from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, VERMILION, make_panels, save_figure

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK)
_DASHES = ("-", "--", ":", "-.")


def draw_scores_over_steps(path: Path, steps: Sequence[int], scores: Mapping[str, np.ndarray]) -> None:
    """Draw scores over training steps: a panel for each metric, a line for each head.

    Args:
        path: of the figure, an SVG, PNG or PDF.
        steps: the S training steps.
        scores: by metric, (S, layers, heads).
    """
    figure, axes = make_panels(5.8, 3.4 * len(scores) + 0.6, rows=len(scores), share_x=True)
    for axis, (name, values) in zip(axes, scores.items(), strict=True):
        layers, heads = values.shape[1:]
        # a colour for each layer, a dash pattern for each head
        for layer, head in itertools.product(range(layers), range(heads)):
            axis.plot(
                steps, values[:, layer, head], _DASHES[head % 4], color=_COLOURS[layer % 7], marker="o", markersize=3,
                linewidth=1.2,
            )  # fmt: skip
        if np.isfinite(values[-1]).any():  # name the head with the highest final score
            layer, head = np.unravel_index(np.nanargmax(values[-1]), (layers, heads))
            axis.annotate(
                f"layer {layer}, head {head}", (steps[-1], values[-1, layer, head]), (-4, 5),
                textcoords="offset points", ha="right", fontsize=9,
            )  # fmt: skip
        axis.set_ylabel(display_line(name))
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.02, y=0.08)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[-1].set_xlabel("training step")
    layers, heads = next(iter(scores.values())).shape[1:]
    handles = [axes[0].plot([], [], color=_COLOURS[layer % 7], label=f"layer {layer}")[0] for layer in range(layers)]
    for pattern in range(min(heads, 4)):
        which = ", ".join(map(str, range(pattern, heads, 4)))
        handles += axes[0].plot([], [], _DASHES[pattern], color="#777777", label=f"head {which}")
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    save_figure(figure, path)
