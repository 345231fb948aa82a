"""The page of a review: whole, offline, and nothing in it that a record could break."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dlkit.review.dot_plot import dot_plot
from dlkit.review.evidence import command_of
from dlkit.review.figures import FIGURES, SECTION_OF
from dlkit.review.find import SECTIONS, shipped_claims
from dlkit.review.inline_figures import inline_figures
from dlkit.review.page import write_review_page

PROPERTY: dict[str, Any] = {
    "claim": "gelu-cdf", "section": "Activations", "text": "GELU is <x> times & so on.", "kind": "property",
    "paper": "Hendrycks & Gimpel 2016, arXiv:1606.08415", "fixed": "nothing", "path": "gelu-cdf.yaml",
    "verdict": "contradicted", "deviation": 0.25, "tolerance": 1e-10, "draws": 20, "numbers": {"ReLU": 0.17},
}  # fmt: skip
ARMS: dict[str, Any] = {
    "claim": "mine", "section": "Mine", "text": "Wide is better.", "kind": "arms", "paper": None, "fixed": "all",
    "path": "my claims/mine.yaml", "verdict": "cannot tell", "expect": "wide > narrow", "measure": "test/accuracy",
    "difference": 0.1, "low": -0.1, "high": 0.3, "level": 0.95, "smallest": 0.05, "seeds": 3, "seeds_needed": 40,
    "recipe": "digits-mlp", "changes": {"wide": ["model.hidden=[64]"], "narrow": ["model.hidden=[4]"]},
    "arms": {"wide": {"values": [0.9, 0.8, None]}, "narrow": {"values": [0.7, 0.8, 0.75]}},
}  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> str:
    write_review_page(tmp_path / "review.html", [PROPERTY, ARMS], {"run": "today", "on": "<a machine>"})
    return (tmp_path / "review.html").read_text(encoding="utf-8")


def test_every_claim_is_there(page: str) -> None:
    text = html.unescape(re.sub("<[^>]*>", " ", page))
    for wanted in (
        "GELU is <x> times & so on.", "✗ contradicted", "? cannot tell", "largest deviation 0.25 over 20 draws",
        "wide > narrow in test/accuracy: by 0.1 (-0.1 to 0.3), 3 seeds; about 40 seeds would tell 0.05",
        "dlkit review run 'my claims/mine.yaml' --seeds 3", "dlkit train digits-mlp 'model.hidden=[64]'", "<a machine>",
        "all 2", "✗ contradicted 1", "Fixed before: all",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert 'href="https://arxiv.org/abs/1606.08415"' in page


def test_first_stage_is_a_command_before_the_arms(tmp_path: Path) -> None:
    """Its folder is named as the arms name its weights: the commands work as they stand."""
    first = {"recipe": "digits-resnet20", "changes": ["train.epochs=3"]}
    changes = {"wide": ["model.weights=first"], "narrow": []}
    write_review_page(tmp_path / "review.html", [{**ARMS, "first": first, "changes": changes}], {})
    text = html.unescape(re.sub("<[^>]*>", " ", (tmp_path / "review.html").read_text(encoding="utf-8")))
    assert "dlkit train digits-resnet20 train.epochs=3 --run-dir first" in text
    assert "dlkit train digits-mlp model.weights=first" in text
    assert "recipe-digits-resnet20" in (tmp_path / "review.html").read_text(encoding="utf-8")


def test_command_says_at_which_size() -> None:
    assert command_of({**ARMS, "full": True}, shipped=True) == "dlkit review run mine --full --seeds 3"


def test_nothing_is_loaded(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|img|script src|iframe)", page)


def test_figures_stand_in_their_sections(tmp_path: Path) -> None:
    figures = {section: inline_figures(section) for section in ("Activations", "Attention", "Mine")}
    write_review_page(tmp_path / "review.html", [PROPERTY, ARMS], {}, figures)
    page = (tmp_path / "review.html").read_text(encoding="utf-8")
    activations, _, mine = page.partition('<section id="section-1">')
    assert (activations.count("<figure"), mine.count("<figure")) == (3, 0)
    for drawn in figures["Activations"]:
        ET.fromstring(drawn)  # whole
        assert len(drawn) < 60_000
    assert "ReLU cuts off below zero" in activations


def test_every_figure_belongs_to_a_section_of_the_review() -> None:
    assert SECTION_OF.keys() == FIGURES.keys()
    assert set(SECTION_OF.values()) <= set(SECTIONS)


def test_claim_and_recipes_are_there_as_they_are_written(tmp_path: Path) -> None:
    claim = next(path for name, path in shipped_claims().items() if name == "gelu-cdf")
    record = {**PROPERTY, "path": str(claim)}
    write_review_page(tmp_path / "review.html", [record, ARMS], {})
    page = (tmp_path / "review.html").read_text(encoding="utf-8")
    assert html.escape(claim.read_text(encoding="utf-8").strip()) in page
    assert 'href="#recipe-digits-mlp"' in page and 'id="recipe-digits-mlp"' in page


def test_figure_is_drawn_from_the_values() -> None:
    """Dots lie where a linear axis has them."""
    svg = ET.fromstring(dot_plot({"wide": [1.0, 3.0, None], "narrow": [2.0]}, "test/loss"))
    dots = [float(circle.attrib["cx"]) for circle in svg.iter("circle")]
    assert len(dots) == 3
    assert dots[2] == pytest.approx((dots[0] + dots[1]) / 2, abs=0.1)
    assert dot_plot({"a": [None]}, "test/loss") == ""
