"""Trajectories of optimizers over a surface: as a figure, and as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.plotting import YELLOW, make_axes
from dlkit.storage.atomic_file import atomic_file
from dlkit.sweep.figures import add_legend, name_figure, save_with_png, style_of
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import TrialResult

_Path = tuple[list[float], list[float]]  # x and y of each step


def draw_trajectories(target: Path, surface: Surface, best: Sequence[TrialResult], title: str) -> None:
    """Contours of the surface with each optimizer's trajectory at its best learning rate."""
    figure, axis = make_axes(4.8, 5.2)
    _draw_surface(axis, surface)
    for line, marker, (x, y) in zip(*_lines(axis, best), strict=True):
        line.set_data(x, y)
        marker.set_data(x[-1:], y[-1:])
    _draw_start(axis, best)
    name_figure(axis, title, "the path of each at its best learning rate")
    add_legend(figure, axis)
    save_with_png(figure, target)


def animate_trajectories(
    target: Path, surface: Surface, best: Sequence[TrialResult], title: str, frames: int = 90
) -> None:
    """The trajectories as an animated GIF, all optimizers in lockstep."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, axis = make_axes(4.8, 5.2)
    figure.set_dpi(100)
    _draw_surface(axis, surface)
    lines, markers, trajectories = _lines(axis, best)
    _draw_start(axis, best)
    add_legend(figure, axis)
    last = max((len(x) for x, _ in trajectories), default=1)  # there are none if all diverged
    # the first steps are the longest, so the animation speeds up
    stops = sorted({min(last, max(1, round(last ** (frame / frames)))) for frame in range(frames + 1)})
    heading = axis.set_title(f"{title}: step 0")  # set before the layout is computed
    moving = [artist for pair in zip(lines, markers, strict=True) for artist in pair]
    for artist in (*moving, heading):
        artist.set_animated(True)  # drawn in every frame, over the surface, which is drawn once
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)

    def picture(stop: int) -> Image.Image:
        canvas.restore_region(still)
        heading.set_text(f"{title}: step {stop - 1}")
        for line, marker, (x, y) in zip(lines, markers, trajectories, strict=True):
            line.set_data(x[:stop], y[:stop])
            marker.set_data(x[:stop][-1:], y[:stop][-1:])
        for artist in (*moving, heading):
            axis.draw_artist(artist)
        return Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")

    pictures = [picture(stop) for stop in stops]
    # the last frame has every colour; without dithering, static pixels compress to nothing
    palette = pictures[-1].quantize(256)
    first, *rest = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures)
    with atomic_file(target) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=1000 // 12, loop=0)


def _lines(axis: Any, best: Sequence[TrialResult]) -> tuple[list[Any], list[Any], list[_Path]]:
    """A line without points for each optimizer, a marker for where it is, and its trajectory.

    Each line is thinner than the one before and lies on it, so that paths that coincide are all seen.
    """
    trajectories = [_trajectory(outcome) for outcome in best]
    widths = np.linspace(min(1.3 + 0.5 * (len(best) - 1), 3.8), 1.3, len(best))
    lines: list[Any] = []
    markers: list[Any] = []
    for number, outcome in enumerate(best):
        colour, marker, dashes = style_of(outcome.trial.optimizer)
        label = f"{outcome.trial.optimizer}, lr {outcome.trial.lr:.3g}"
        same = next((other for other in range(number) if trajectories[other] == trajectories[number]), None)
        if same is not None:
            label += f" (the path of {best[same].trial.optimizer})"
        size = 5 + 1.2 * widths[number]
        lines += axis.plot([], [], color=colour, linestyle=dashes, linewidth=widths[number], solid_capstyle="round")
        markers += axis.plot([], [], color=colour, marker=marker, markersize=size, markeredgecolor="white", zorder=3)
        axis.plot([], [], color=colour, linestyle=dashes, marker=marker, linewidth=1.6, markersize=6, label=label)
    return lines, markers, trajectories


def _trajectory(outcome: TrialResult) -> _Path:
    return [m["x"] for _, m in outcome.curve], [m["y"] for _, m in outcome.curve]


def _draw_start(axis: Any, best: Sequence[TrialResult]) -> None:
    """Where all of them start: their first point, before any step."""
    for x, y in [_trajectory(outcome) for outcome in best][:1]:
        axis.plot(
            x[:1], y[:1], "o", color="white", markersize=9, markeredgecolor="black", markeredgewidth=1.8, zorder=4,
            label=f"start ({x[0]:g}, {y[0]:g})",
        )  # fmt: skip


def _draw_surface(axis: Any, surface: Surface) -> None:
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, 241), np.linspace(bottom, top, 241))
    height = surface.function(x, y)
    # levels at quantiles, so that valleys and walls both show
    levels = np.unique(np.quantile(height, np.linspace(0, 1, 24) ** 1.5))
    axis.contourf(x, y, height, levels=levels, cmap="Greys", alpha=0.35)
    axis.contour(x, y, height, levels=levels, colors="#999999", linewidths=0.4)
    if surface.minima:
        a, b = zip(*surface.minima, strict=True)
        several = len(surface.minima) > 1
        label = f"{len(surface.minima)} minima" if several else f"minimum ({a[0]:g}, {b[0]:g})"
        axis.plot(a, b, "*", color=YELLOW, markersize=15, markeredgecolor="black", zorder=4, label=label)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_xlabel("x")
    axis.set_ylabel("y")
    axis.grid(visible=False)
