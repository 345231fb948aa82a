"""Figures of a race. An optimizer has the same colour and marker in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, VERMILION, make_axes, save_figure
from dlkit.storage.atomic_file import atomic_file
from dlkit.sweep.statistics import OptimizerSummary, bootstrap_interval
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import TrialResult

# Markers and dashes tell them apart in grey as well.
STYLES = {
    "sgd": (BLACK, "o", "-"),
    "momentum": (ORANGE, "s", "--"),
    "adagrad": (SKY, "^", "-."),
    "rmsprop": (GREEN, "v", ":"),
    "adam": (VERMILION, "D", "-"),
    "adamw": (PINK, "P", "--"),
}
_OTHER = (BLUE, "X", "-")


def draw_sensitivity(target: Path, summaries: Sequence[OptimizerSummary], metric: str, title: str) -> None:
    """Final loss by learning rate: the mean over seeds, and the range of seeds."""
    figure, axis = make_axes(6.4, 4.0)
    for summary in summaries:
        colour, marker, dashes = STYLES.get(summary.optimizer, _OTHER)
        if summary.searched:  # neighbours in the learning rate differ in other options as well
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
    axis.set_title(f"{title}: sensitivity to the learning rate (gaps diverged)")
    _legend(figure, axis)
    _save(figure, target)


def draw_curves(
    target: Path, summaries: Sequence[OptimizerSummary], outcomes: Sequence[TrialResult], metric: str, title: str
) -> None:
    """The metric over steps at each optimizer's best learning rate: mean and 95 % interval over seeds."""
    figure, axis = make_axes(6.4, 4.0)
    seen: list[float] = []
    for summary in summaries:
        if summary.best is None:
            continue
        lr, mine = summary.lrs[summary.best], summary.best_outcomes(outcomes)
        steps = [step for step, metrics in mine[0].curve if metric in metrics]
        if not steps:
            continue
        values = np.array([[metrics[metric] for _, metrics in o.curve if metric in metrics] for o in mine])
        colour, _, dashes = STYLES.get(summary.optimizer, _OTHER)
        label = f"{summary.optimizer}, lr {lr:.3g}"
        axis.plot(steps, values.mean(0), color=colour, linestyle=dashes, label=label, linewidth=1.4)
        if len(values) > 1:
            bounds = np.array([bootstrap_interval(column) for column in values.T])
            axis.fill_between(steps, bounds[:, 0], bounds[:, 1], color=colour, alpha=0.15, linewidth=0)
        seen += values.ravel().tolist()
    _log_if_positive(axis, seen)
    axis.set_xlabel("step")
    axis.set_ylabel(metric)
    axis.set_title(f"{title}: each at its best setting")
    _legend(figure, axis)
    _save(figure, target)


def draw_tuning_effort(target: Path, records: Sequence[dict[str, Any]], metric: str, title: str) -> None:
    """Expected best loss by how many settings are tried at random."""
    figure, axis = make_axes(6.4, 4.0)
    seen: list[float] = []
    for record in records:
        effort = record["tuning_effort"]
        colour, marker, dashes = STYLES.get(record["optimizer"], _OTHER)
        trials = range(1, len(effort) + 1)
        axis.plot(
            trials, effort, color=colour, marker=marker, linestyle=dashes, label=record["optimizer"], markersize=4
        )
        seen += effort
    _log_if_positive(axis, seen)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("settings tried, drawn at random")
    axis.set_ylabel(f"expected best {metric}")
    axis.set_title(f"{title}: effort of tuning")
    _legend(figure, axis)
    _save(figure, target)


def draw_performance_profile(target: Path, records: Sequence[dict[str, Any]], metric: str, title: str) -> None:
    """Share of seeds on which an optimizer's loss is within a factor of the best one's there (Dolan & Moré 2002)."""
    figure, axis = make_axes(6.4, 4.0)
    largest = max((tau for record in records for tau, _ in record["profile"]), default=1.0)
    end = 1 + (largest - 1) * 1.1 if largest > 1 else 2.0
    for record in records:
        colour, marker, dashes = STYLES.get(record["optimizer"], _OTHER)
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
    axis.set_title(f"{title}: performance profile, each at its best setting")
    _legend(figure, axis)
    _save(figure, target)


def _plain_ticks(axis: Any, end: float) -> None:
    """Numbers instead of powers of ten on a logarithmic axis from 1 that spans less than a decade or two."""
    if end < 30:
        from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

        axis.xaxis.set_major_locator(MaxNLocator(6))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def draw_trajectories(target: Path, surface: Surface, best: Sequence[TrialResult], title: str) -> None:
    """The surface from above with each optimizer's way at its best learning rate."""
    figure, axis = make_axes(6.4, 5.0)
    _draw_surface(axis, surface)
    for outcome in best:
        x, y = _way(outcome)
        colour, marker, dashes = STYLES.get(outcome.trial.optimizer, _OTHER)
        label = f"{outcome.trial.optimizer}, lr {outcome.trial.lr:.3g}"
        axis.plot(x, y, color=colour, linestyle=dashes, linewidth=1.3, label=label)
        axis.plot(x[-1:], y[-1:], color=colour, marker=marker, markersize=6, markeredgecolor="white")
    axis.set_title(title)
    _legend(figure, axis)
    _save(figure, target)


def animate_trajectories(
    target: Path, surface: Surface, best: Sequence[TrialResult], title: str, frames: int = 90
) -> None:
    """The same as a GIF: all optimizers walk at the pace of one step after the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, axis = make_axes(6.4, 5.0)
    figure.set_dpi(80)
    _draw_surface(axis, surface)
    lines: list[Any] = []
    ways = [_way(outcome) for outcome in best]
    for outcome in best:
        colour, marker, _ = STYLES.get(outcome.trial.optimizer, _OTHER)
        label = f"{outcome.trial.optimizer}, lr {outcome.trial.lr:.3g}"
        lines += axis.plot([], [], color=colour, marker=marker, markevery=[-1], linewidth=1.3, label=label)
    _legend(figure, axis)
    last = max((len(x) for x, _ in ways), default=1)  # nobody, where all diverged
    # the first steps are the long ones, so time runs faster and faster
    stops = sorted({min(last, max(1, round(last ** (frame / frames)))) for frame in range(frames + 1)})
    heading = axis.set_title(f"{title}: step 0")  # it has its place before the layout is made
    for artist in (*lines, heading):
        artist.set_animated(True)  # what moves is drawn frame by frame, on the surface that is drawn once
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)

    def picture(stop: int) -> Image.Image:
        canvas.restore_region(still)
        heading.set_text(f"{title}: step {stop - 1}")
        for line, (x, y) in zip(lines, ways, strict=True):
            line.set_data(x[:stop], y[:stop])
            axis.draw_artist(line)
        axis.draw_artist(heading)
        return Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")

    pictures = [picture(stop) for stop in stops]
    # the last one shows every colour; without dithering, what stands still takes no space
    palette = pictures[-1].quantize(256)
    first, *rest = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures)
    with atomic_file(target) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=1000 // 12, loop=0)


def _save(figure: Any, target: Path) -> None:
    """As SVG for pages, and as PNG beside it for wherever SVG is not taken."""
    save_figure(figure, target)
    save_figure(figure, target.with_suffix(".png"))


def _way(outcome: TrialResult) -> tuple[list[float], list[float]]:
    return [m["x"] for _, m in outcome.curve], [m["y"] for _, m in outcome.curve]


def _draw_surface(axis: Any, surface: Surface) -> None:
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, 241), np.linspace(bottom, top, 241))
    height = surface.function(x, y)
    # levels by rank, so that valleys and walls both show
    levels = np.unique(np.quantile(height, np.linspace(0, 1, 24) ** 1.5))
    axis.contourf(x, y, height, levels=levels, cmap="Greys", alpha=0.35)
    axis.contour(x, y, height, levels=levels, colors="#999999", linewidths=0.4)
    for a, b in surface.minima:
        axis.plot([a], [b], "*", color=BLUE, markersize=12, markeredgecolor="white")
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    axis.grid(visible=False)


def _log_if_positive(axis: Any, values: Sequence[float]) -> None:
    good = [value for value in values if math.isfinite(value)]
    if good and min(good) > 0 and max(good) > 4 * min(good):
        axis.set_yscale("log")


def _legend(figure: Any, axis: Any) -> None:
    if axis.get_legend_handles_labels()[0]:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
