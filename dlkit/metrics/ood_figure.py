"""A figure of the scores of in- and out-of-distribution data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from dlkit.metrics.ood import separation
from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, VERMILION, make_panels, save_figure

_NAMES = {
    "msp": "maximum softmax probability",
    "max_logit": "maximum logit",
    "energy": "negative energy",
    "entropy": "negative entropy (nats)",
}
_COLOURS = (VERMILION, GREEN, ORANGE, PINK, SKY, BLACK)
_DASHES = ("-", "--", ":", "-.")
_BINS = 50


def draw_ood_histogram(
    in_distribution: Mapping[str, Tensor], ood: Mapping[str, Mapping[str, Tensor]], target: Path, title: str
) -> None:
    """Draw a histogram of every score: of the test data, filled, and of each other set, as a line.

    Args:
        in_distribution: score -> (N,).
        ood: name of the set -> score -> (M,).
        target: an SVG, PNG or PDF file.
        title: of the figure.
    """
    columns = min(2, len(in_distribution))
    rows = math.ceil(len(in_distribution) / columns)
    figure, panels = make_panels(3.5 * columns, (2.9 + 0.16 * len(ood)) * rows + 0.4, rows, columns)
    for axis, (score, values) in zip(panels, in_distribution.items(), strict=False):
        everything = np.concatenate([values.numpy(), *(scores[score].numpy() for scores in ood.values())])
        low, high = float(everything.min()), float(everything.max())
        bins = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        weights = np.full(len(values), 1 / len(values))
        axis.hist(values.numpy(), bins, weights=weights, color=BLUE, alpha=0.35, label="test data")
        for number, (name, scores) in enumerate(ood.items()):
            other = scores[score].numpy()
            auroc = separation(values, scores[score])["auroc"]
            label = f"AUROC {auroc:.3f}: {name[-24:]}"  # matplotlib leaves out labels that begin with an underscore
            weights = np.full(len(other), 1 / len(other))
            colour = _COLOURS[number % len(_COLOURS)]
            axis.hist(
                other,
                bins,
                weights=weights,
                histtype="step",
                color=colour,
                linewidth=1.3,
                label=label,
                linestyle=_DASHES[number % len(_DASHES)],
            )
        axis.set_xlabel(_NAMES[score])
        axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)
    for axis in panels[::columns]:
        axis.set_ylabel("share of the examples")
    figure.suptitle(title)
    save_figure(figure, target)
