"""Figures of a sweep. An optimizer has the same colour and marker in all of them."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.catalog import OPTIMIZERS
from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, VERMILION, make_axes, save_figure
from dlkit.sweep.statistics import bootstrap_interval
from dlkit.sweep.summary import OptimizerSummary
from dlkit.sweep.trials import TrialResult

# Markers and dashes keep them distinct in greyscale.
STYLES = {
    "sgd": (BLACK, "o", "-"),
    "momentum": (ORANGE, "s", "--"),
    "adagrad": (SKY, "^", "-."),
    "rmsprop": (GREEN, "v", ":"),
    "adam": (VERMILION, "D", "-"),
    "adamw": (PINK, "P", "--"),
}
# All others are blue, and differ in marker and dashes.
_FURTHER = [(BLUE, marker, dashes) for marker, dashes in zip("X*hd<>p", itertools.cycle(("-", "--", "-.", ":")))]


def style_of(optimizer: str) -> tuple[str, str, str]:
    """The colour, marker and dashes of an optimizer."""
    if optimizer in STYLES:
        return STYLES[optimizer]
    others = [name for name in OPTIMIZERS if name not in STYLES]
    number = others.index(optimizer) if optimizer in others else zlib.crc32(optimizer.encode())  # one of the user's own
    return _FURTHER[number % len(_FURTHER)]


def draw_sensitivity(target: Path, summaries: Sequence[OptimizerSummary], metric: str, title: str) -> None:
    """Final loss over the learning rate: mean and range over seeds."""
    figure, axis = make_axes(4.8, 4.2)
    for summary in summaries:
        colour, marker, dashes = style_of(summary.optimizer)
        if summary.searched:  # settings with neighbouring learning rates differ in other options, too
            values = summary.losses.mean(1)
            axis.plot(
                summary.lrs, values, color=colour, marker=marker, linestyle="", label=summary.optimizer, alpha=0.8
            )
            continue
        good = np.isfinite(summary.losses).all(1)
        lrs = np.array(summary.lrs)[good]
        losses = summary.losses[good]
        if len(lrs):
            axis.fill_between(lrs, losses.min(1), losses.max(1), color=colour, alpha=0.12, linewidth=0)
        axis.plot(
            lrs, losses.mean(1), color=colour, marker=marker, linestyle=dashes, label=summary.optimizer, markersize=4
        )
    axis.set_xscale("log")
    _log_if_positive(axis, [value for s in summaries for value in s.losses[np.isfinite(s.losses)].tolist()])
    axis.set_xlabel("learning rate")
    axis.set_ylabel(f"final {metric}")
    name_figure(axis, title, "sensitivity to the learning rate; gaps diverged")
    add_legend(figure, axis)
    save_with_png(figure, target)


def draw_curves(
    target: Path, summaries: Sequence[OptimizerSummary], outcomes: Sequence[TrialResult], metric: str, title: str
) -> None:
    """The metric over steps at each optimizer's best setting: mean and 95 % interval over seeds."""
    figure, axis = make_axes(4.8, 4.2)
    seen: list[float] = []
    for summary in summaries:
        if summary.best is None:
            continue
        lr, mine = summary.lrs[summary.best], summary.best_outcomes(outcomes)
        steps = [step for step, metrics in mine[0].curve if metric in metrics]
        if not steps:
            continue
        values = np.array([[metrics[metric] for _, metrics in o.curve if metric in metrics] for o in mine])
        colour, _, dashes = style_of(summary.optimizer)
        label = f"{summary.optimizer}, lr {lr:.3g}"
        axis.plot(steps, values.mean(0), color=colour, linestyle=dashes, label=label, linewidth=1.4)
        if len(values) > 1:
            bounds = np.array([bootstrap_interval(column) for column in values.T])
            axis.fill_between(steps, bounds[:, 0], bounds[:, 1], color=colour, alpha=0.15, linewidth=0)
        seen += values.ravel().tolist()
    _log_if_positive(axis, seen)
    axis.set_xlabel("step")
    axis.set_ylabel(metric)
    name_figure(axis, title, "each at its best setting")
    add_legend(figure, axis)
    save_with_png(figure, target)


def draw_tuning_effort(target: Path, records: Sequence[dict[str, Any]], metric: str, title: str) -> None:
    """Expected best loss over the number of random settings tried."""
    figure, axis = make_axes(4.8, 4.2)
    seen: list[float] = []
    for record in records:
        effort = record["tuning_effort"]
        colour, marker, dashes = style_of(record["optimizer"])
        trials = range(1, len(effort) + 1)
        axis.plot(
            trials, effort, color=colour, marker=marker, linestyle=dashes, label=record["optimizer"], markersize=4
        )
        seen += effort
    _log_if_positive(axis, seen)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("settings tried, drawn at random")
    axis.set_ylabel(f"expected best {metric}")
    name_figure(axis, title, "effort of tuning")
    add_legend(figure, axis)
    save_with_png(figure, target)


def draw_performance_profile(target: Path, records: Sequence[dict[str, Any]], metric: str, title: str) -> None:
    """Share of seeds on which an optimizer's loss is within a factor of the best loss (Dolan & Moré 2002)."""
    figure, axis = make_axes(4.8, 4.2)
    largest = max((tau for record in records for tau, _ in record["profile"]), default=1.0)
    end = 1 + (largest - 1) * 1.1 if largest > 1 else 2.0
    for record in records:
        colour, marker, dashes = style_of(record["optimizer"])
        taus = [tau for tau, _ in record["profile"]]
        shares = [share for _, share in record["profile"]]
        axis.step(
            [*taus, end], [*shares, shares[-1] if shares else 0.0], where="post", color=colour, linestyle=dashes,
            marker=marker, markersize=4, markevery=range(len(taus)), label=record["optimizer"],
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(1, end)
    axis.set_ylim(-0.03, 1.03)
    _plain_ticks(axis, end)
    axis.set_xlabel(f"factor of the best {metric} at a seed")
    axis.set_ylabel("share of seeds within the factor")
    name_figure(axis, title, "performance profile, each at its best setting")
    add_legend(figure, axis)
    save_with_png(figure, target)


def _plain_ticks(axis: Any, end: float) -> None:
    """Plain numbers instead of powers of ten on a logarithmic axis from 1 that spans little more than a decade."""
    if end < 30:
        from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

        axis.xaxis.set_major_locator(MaxNLocator(6))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def name_figure(axis: Any, title: str, what: str) -> None:
    """What a figure is of, and below that what it shows."""
    axis.set_title(f"{title}\n{what}", fontsize=11)


def save_with_png(figure: Any, target: Path) -> None:
    """Write an SVG, and a PNG beside it for programs that do not take SVG."""
    save_figure(figure, target)
    save_figure(figure, target.with_suffix(".png"))


def _log_if_positive(axis: Any, values: Sequence[float]) -> None:
    good = [value for value in values if math.isfinite(value)]
    if good and min(good) > 0 and max(good) > 4 * min(good):
        axis.set_yscale("log")


def add_legend(figure: Any, axis: Any) -> None:
    """Put a legend below the figure, if anything has a label."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        columns = 2 if max(map(len, labels)) <= 26 else 1
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
