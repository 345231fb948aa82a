"""Figures hold every text as it is, in each format, and where they cannot be written is said before the work."""

from __future__ import annotations

import html
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dlkit.errors import DlkitError, RequestError
from dlkit.information import plots
from dlkit.information.divergence_figure import plot_divergence
from dlkit.metrics.confusion_figure import draw_confusion_matrix
from dlkit.metrics.ood_figure import draw_ood_histogram
from dlkit.plotting import make_axes, require_figure, save_figure
from dlkit.sweep import figures
from dlkit.sweep.summary import summarize
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.training import run_plots

# what matplotlib would take for a formula, or for a broken one, and what no XML can hold
NAMES = ["$x^$", "$a$b$", r"\frac{1}{2}", "a_b^c", "x$", "_hidden", "a--b", "<b>&amp;", "\x1b[31m", "\udcff", "漢"]
SHOWN = {"\x1b[31m": "\\x1b[31m", "\udcff": "\\udcff"}


def texts(path: Path) -> str:
    """The texts of an SVG, which matplotlib writes as comments beside their outlines; an escape of theirs undone."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    found = [str(node.text).strip() for node in ET.parse(path, parser).iter() if node.tag is ET.Comment]
    return html.unescape("\n".join(found)).replace("- -", "--")


def curves_of_a_run(target: Path) -> None:
    metrics = target.with_suffix(".jsonl")
    metrics.write_text(json.dumps({"step": 1, "lr": 0.1, "train/loss": 1.0}) + "\n")
    run_plots.plot_learning_curves(metrics, target, NAMES[0])


def confusion(target: Path) -> None:
    draw_confusion_matrix(torch.eye(len(NAMES), dtype=torch.int64), tuple(NAMES), target, NAMES[0])


def histogram(target: Path) -> None:
    scores = {"msp": torch.rand(9), "energy": torch.rand(9)}
    draw_ood_histogram(scores, dict.fromkeys(NAMES, scores), target, NAMES[0])


def code_words(target: Path) -> None:
    plots.plot_code_lengths(target, NAMES, [4.0] * len(NAMES), [4] * len(NAMES), "huffman")


def divergence(target: Path) -> None:
    even = np.full(len(NAMES), 1 / len(NAMES))
    plot_divergence(target, NAMES, even, even, 2.0, None)


def race(target: Path) -> None:
    who = (Trial("sgd", 0.1, 0), Trial("sgd", 1.0, 0))
    outcomes = [TrialResult(each, 5, 1.0, {"m": 1.0}, [(1, {"m": 2.0}), (5, {"m": 1.0})]) for each in who]
    figures.draw_curves(target, summarize(outcomes, "m"), outcomes, "m", NAMES[0])


@pytest.mark.parametrize(
    ("draw", "names"),
    [
        (curves_of_a_run, NAMES[:1]),
        (race, NAMES[:1]),
        (confusion, NAMES),
        (histogram, NAMES),
        (code_words, NAMES),
        (divergence, NAMES),
    ],
)
def test_every_text_is_drawn_as_it_is(draw: Any, names: list[str], tmp_path: Path) -> None:
    draw(tmp_path / "figure.svg")
    found = texts(tmp_path / "figure.svg")
    for name in names:
        shown = repr(name)[1:-1] if draw in (code_words, divergence) and name in SHOWN else SHOWN.get(name, name)
        assert shown[:12] in found, name


LONG = "runs/" + "a-name_of_a run with $much$ to say " * 5


def long_names(draw: Any, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "NAMES", [LONG + name for name in NAMES])
    draw(target)


@pytest.mark.parametrize("draw", [curves_of_a_run, confusion, histogram, code_words, divergence, race])
def test_nothing_is_cut_at_the_edges(draw: Any, uncut: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "short.pdf")
    long_names(draw, tmp_path / "long.svg", monkeypatch)
    assert uncut() >= 2
    assert (tmp_path / "short.pdf").read_bytes().startswith(b"%PDF")


def test_numbers_along_axes_stay_powers_of_ten(tmp_path: Path) -> None:
    figure, axis = make_axes(4, 3)
    axis.plot([1e-4, 1.0], [1.0, 2.0])
    axis.set_xscale("log")
    save_figure(figure, tmp_path / "figure.svg")
    assert r"$\mathdefault{10^{-3}}$" in texts(tmp_path / "figure.svg")


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")]
)
def test_the_suffix_decides_and_the_bytes_stay_the_same(suffix: str, begins: bytes, tmp_path: Path) -> None:
    written: list[bytes] = []
    for name in ("a", "b"):
        figure, axis = make_axes(2, 2)
        axis.plot([0, 1], [0, 1])
        save_figure(figure, tmp_path / f"{name}{suffix}")
        written.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(begins)
    if suffix == ".png":
        with Image.open(tmp_path / "a.png") as picture:
            assert np.asarray(picture.convert("L")).min() < 100


def test_where_no_figure_can_be_is_said_in_the_words_of_the_user(tmp_path: Path) -> None:
    for given, message, hint in (
        ("x.jpg", "--plot x.jpg does not end in .svg, .png or .pdf", "--plot x.svg"),
        ("x", "--plot x does not end in .svg, .png or .pdf", "--plot x.svg"),
        ("a b/x.svg", "--plot a b/x.svg: there is no folder a b", "mkdir -p 'a b'"),
        (str(tmp_path), f"--plot {tmp_path} is a folder", f"--plot {tmp_path}/file.svg"),
    ):
        with pytest.raises(RequestError) as error:
            require_figure("--plot", Path(given))
        assert error.value.message == message
        assert hint in (error.value.hint or "")
    with pytest.raises(DlkitError, match="cannot write into /proc"):
        require_figure("--plot", Path("/proc/x.svg"))
    for suffix in (".svg", ".PNG", ".pdf"):
        require_figure("--plot", tmp_path / f"x{suffix}")
    require_figure("--plot", None)
    assert not list(tmp_path.iterdir())
