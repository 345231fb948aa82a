"""The figure of two distributions shows what scipy says of them, symbol by symbol."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from dlkit.information import divergence_figure
from dlkit.information.divergence_figure import plot_divergence


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were to be written."""
    figures: list[Any] = []
    monkeypatch.setattr(divergence_figure, "save_figure", lambda figure, target: figures.append(figure))
    return figures


def heights(axis: Any) -> np.ndarray:
    """Of the bars of an axis, (series, symbols)."""
    return np.array([[bar.get_height() for bar in series] for series in axis.containers])


@pytest.mark.parametrize("base", [2.0, math.e, 10.0])
def test_bars_are_what_scipy_says(drawn: list[Any], base: float) -> None:
    p, q = np.array([0.5, 0.25, 0.15, 0.1]), np.array([0.2, 0.3, 0.4, 0.1])
    words = [1, 2, 3, 3]
    plot_divergence(Path("x.svg"), list("abcd"), p, q, base, ("huffman", words))
    chances, lengths, parts = drawn[0].axes
    np.testing.assert_allclose(heights(chances), [p, q])
    in_unit = np.array(words) * math.log(2) / math.log(base)
    np.testing.assert_allclose(heights(lengths), [-np.log(p) / np.log(base), -np.log(q) / np.log(base), in_unit])
    # rel_entr(p, q) = p ln (p / q)
    terms = special.rel_entr(p, q) / math.log(base)
    np.testing.assert_allclose(np.nansum(heights(parts), axis=0), terms, atol=1e-15)
    assert terms.sum() == pytest.approx(stats.entropy(p, q, base=base))
    assert f"= {stats.entropy(p, q, base=base):.4g}" in parts.get_title(loc="right")
    assert [label.get_text() for label in parts.get_xticklabels()] == list("abcd")
    averages = " ".join(text.get_text() for text in lengths.get_legend().get_texts())
    assert f"-log p, {stats.entropy(p, base=base):.4g} on average" in averages


def test_what_is_infinite_says_so(drawn: list[Any]) -> None:
    plot_divergence(Path("x.svg"), list("ab"), np.array([0.4, 0.6]), np.array([0.0, 1.0]), 2.0, None)
    chances, lengths, parts = drawn[0].axes
    assert [len(axis.texts) for axis in (chances, lengths, parts)] == [0, 1, 1]
    assert "KL[p || q] = \N{INFINITY} bits" in parts.get_title(loc="right")
    assert np.isfinite(heights(lengths)).all()


def test_of_many_symbols_those_that_add_most(drawn: list[Any]) -> None:
    generator = np.random.default_rng(0)
    p, q = generator.dirichlet(np.ones(200)), generator.dirichlet(np.ones(200))
    plot_divergence(Path("x.svg"), [str(index) for index in range(200)], p, q, 2.0, None)
    parts = drawn[0].axes[2]
    terms = special.rel_entr(p, q) / math.log(2)
    largest = sorted(np.argsort(-np.abs(terms))[:32], key=lambda index: -p[index])
    assert [int(label.get_text()) for label in parts.get_xticklabels()] == largest
    assert f"these make {terms[largest].sum():.4g}" in parts.get_title(loc="right")
