"""Paths over a surface: where they start and should end is named, and none hides another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlkit.sweep import trajectories
from dlkit.sweep.surfaces import SURFACES
from dlkit.sweep.trials import Trial, TrialResult


def walk(optimizer: str, points: list[tuple[float, float]]) -> TrialResult:
    curve = [(step, {"x": x, "y": y, "loss": 0.0}) for step, (x, y) in enumerate(points)]
    return TrialResult(Trial(optimizer, 0.1, 0), len(points), 0.0, {"loss": 0.0}, curve)


STRAIGHT = [(-1.2, 1.0), (0.0, 0.5), (1.0, 1.0)]
PATHS = [walk("adam", STRAIGHT), walk("adamw", STRAIGHT), walk("sgd", [(-1.2, 1.0), (-1.0, 0.0)])]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """drawn(surface, paths): the axes and the names in the legend."""
    figures: list[Any] = []
    monkeypatch.setattr(trajectories, "save_with_png", lambda figure, target: figures.append(figure))

    def draw(surface: str, paths: list[TrialResult]) -> tuple[Any, list[str]]:
        trajectories.draw_trajectories(Path("x.svg"), SURFACES[surface], paths, surface)
        (legend,) = figures[-1].legends
        return figures[-1].axes[0], [text.get_text() for text in legend.get_texts()]

    return draw


def test_start_and_minimum_are_named(drawn: Any) -> None:
    axis, names = drawn("rosenbrock", PATHS)
    assert names[0] == "minimum (1, 1)" and names[-1] == "start (-1.2, 1)"
    marks = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert marks["minimum (1, 1)"] == [[1.0, 1.0]]
    assert marks["start (-1.2, 1)"] == [[-1.2, 1.0]]
    assert drawn("himmelblau", PATHS)[1][0] == "4 minima"
    assert not any("minim" in name for name in drawn("saddle", PATHS)[1])
    assert drawn("rosenbrock", [])[1] == ["minimum (1, 1)"]  # all have diverged


def test_paths_that_coincide_are_all_seen(drawn: Any) -> None:
    axis, names = drawn("rosenbrock", PATHS)
    assert "adamw, lr 0.1 (the path of adam)" in names and "sgd, lr 0.1" in names
    lines = [line for line in axis.lines if len(line.get_xdata()) > 1]
    points = [[list(point) for point in STRAIGHT]] * 2 + [[[-1.2, 1.0], [-1.0, 0.0]]]
    assert [line.get_xydata().tolist() for line in lines] == points
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(widths, reverse=True) and len(set(widths)) == 3  # each within the one below it


def test_the_animation_ends_where_the_paths_do(tmp_path: Path) -> None:
    trajectories.animate_trajectories(tmp_path / "a.gif", SURFACES["rosenbrock"], PATHS, "rosenbrock", frames=3)
    with Image.open(tmp_path / "a.gif") as first, Image.open(tmp_path / "a.gif") as last:
        last.seek(last.n_frames - 1)  # pyright: ignore[reportAttributeAccessIssue]
        assert last.n_frames > 1  # pyright: ignore[reportAttributeAccessIssue]
        assert np.abs(np.asarray(first.convert("L"), float) - np.asarray(last.convert("L"), float)).max() > 50
