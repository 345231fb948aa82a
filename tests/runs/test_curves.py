"""Learning curves of several runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dlkit.errors import RequestError
from dlkit.runs import curves
from tests.runs.conftest import Made


def test_the_lines_are_those_of_metrics_jsonl(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, _: drawn.append(figure))
    assert curves.plot_runs([made("a"), made("b")], tmp_path / "c.svg") == ["loss", "accuracy"]
    losses, accuracies = drawn[0].axes
    points = [line.get_xydata().tolist() for line in losses.lines if len(line.get_xydata())]  # pyright: ignore
    assert points == [[[5, 2.0], [7, 1.0]], [[6, 1.5]]] * 2
    assert [line.get_xydata().tolist() for line in accuracies.lines][1] == [[6, 0.25]]  # pyright: ignore
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["a", "b", "training", "evaluation"]


def test_a_metric_by_name_or_the_known_ones(made: Made, tmp_path: Path) -> None:
    run = made("a")
    assert curves.plot_runs([run], tmp_path / "c.svg", ["lr", "val/loss"]) == ["lr", "val/loss"]
    assert re.search("<svg", (tmp_path / "c.svg").read_text())
    with pytest.raises(RequestError, match=r"no run has 'f1'"):
        curves.plot_runs([run], tmp_path / "c.svg", ["f1"])


def test_of_runs_that_are_equal_each_is_seen(tmp_path: Path) -> None:
    """In the picture itself, above the legend: the run that is drawn last has gaps."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lines = [f'{{"step": {step}, "val/loss": {8 - step}}}\n' for step in (1, 7)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(lines))
    curves.plot_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "c.png")
    pixels = np.asarray(Image.open(tmp_path / "c.png").convert("RGB")).astype(int)
    panel = pixels[: len(pixels) // 2]
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # Okabe & Ito's blue and vermilion
        assert (np.abs(panel - np.array(colour)).sum(-1) < 30).sum() > 100, colour
