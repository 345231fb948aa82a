"""Trajectories of optimizers over a surface: as a figure, and as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.plotting import BLUE, make_axes
from dlkit.storage.atomic_file import atomic_file
from dlkit.sweep.figures import add_legend, save_with_png, style_of
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import TrialResult


def draw_trajectories(target: Path, surface: Surface, best: Sequence[TrialResult], title: str) -> None:
    """Contours of the surface with each optimizer's trajectory at its best learning rate."""
    figure, axis = make_axes(6.4, 5.0)
    _draw_surface(axis, surface)
    for outcome in best:
        x, y = _trajectory(outcome)
        colour, marker, dashes = style_of(outcome.trial.optimizer)
        label = f"{outcome.trial.optimizer}, lr {outcome.trial.lr:.3g}"
        axis.plot(x, y, color=colour, linestyle=dashes, linewidth=1.3, label=label)
        axis.plot(x[-1:], y[-1:], color=colour, marker=marker, markersize=6, markeredgecolor="white")
    axis.set_title(title)
    add_legend(figure, axis)
    save_with_png(figure, target)


def animate_trajectories(
    target: Path, surface: Surface, best: Sequence[TrialResult], title: str, frames: int = 90
) -> None:
    """The trajectories as an animated GIF, all optimizers in lockstep."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, axis = make_axes(6.4, 5.0)
    figure.set_dpi(80)
    _draw_surface(axis, surface)
    lines: list[Any] = []
    trajectories = [_trajectory(outcome) for outcome in best]
    for outcome in best:
        colour, marker, _ = style_of(outcome.trial.optimizer)
        label = f"{outcome.trial.optimizer}, lr {outcome.trial.lr:.3g}"
        lines += axis.plot([], [], color=colour, marker=marker, markevery=[-1], linewidth=1.3, label=label)
    add_legend(figure, axis)
    last = max((len(x) for x, _ in trajectories), default=1)  # there are none if all diverged
    # the first steps are the longest, so the animation speeds up
    stops = sorted({min(last, max(1, round(last ** (frame / frames)))) for frame in range(frames + 1)})
    heading = axis.set_title(f"{title}: step 0")  # set before the layout is computed
    for artist in (*lines, heading):
        artist.set_animated(True)  # drawn in every frame, over the surface, which is drawn once
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)

    def picture(stop: int) -> Image.Image:
        canvas.restore_region(still)
        heading.set_text(f"{title}: step {stop - 1}")
        for line, (x, y) in zip(lines, trajectories, strict=True):
            line.set_data(x[:stop], y[:stop])
            axis.draw_artist(line)
        axis.draw_artist(heading)
        return Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")

    pictures = [picture(stop) for stop in stops]
    # the last frame has every colour; without dithering, static pixels compress to nothing
    palette = pictures[-1].quantize(256)
    first, *rest = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures)
    with atomic_file(target) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=1000 // 12, loop=0)


def _trajectory(outcome: TrialResult) -> tuple[list[float], list[float]]:
    return [m["x"] for _, m in outcome.curve], [m["y"] for _, m in outcome.curve]


def _draw_surface(axis: Any, surface: Surface) -> None:
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, 241), np.linspace(bottom, top, 241))
    height = surface.function(x, y)
    # levels at quantiles, so that valleys and walls both show
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
