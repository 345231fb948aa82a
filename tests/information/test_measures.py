"""Measures against scipy, scikit-learn and closed forms, and the properties that hold for all distributions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from dlkit.errors import RequestError
from dlkit.information import measures as m
from dlkit.information.distributions import as_distributions


def random_rows(rows: int, outcomes: int, seed: int, zeros: bool = False) -> m.Array:
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.full(outcomes, 0.5), rows)
    if zeros:
        p[generator.random(p.shape) < 0.3] = 0.0
        p[:, 0] += 1e-3
        p /= p.sum(1, keepdims=True)
    return p


@pytest.mark.parametrize("base", [2.0, math.e, 10.0, 1.5])
def test_ten_thousand_distributions_against_scipy(base: float) -> None:
    p, q = random_rows(10_000, 7, 0, zeros=True), random_rows(10_000, 7, 1)
    np.testing.assert_allclose(m.shannon_entropy(p, base), stats.entropy(p, base=base, axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        m.relative_entropy(p, q, base), stats.entropy(p, q, base=base, axis=1), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(m.perplexity(p), np.exp(stats.entropy(p, axis=1)), rtol=1e-12)
    both = m.shannon_entropy(p, base) + m.relative_entropy(p, q, base)
    np.testing.assert_allclose(m.cross_entropy(p, q, base), both, rtol=1e-11, atol=1e-12)


def test_jensen_shannon_against_scipy() -> None:
    from scipy.spatial.distance import jensenshannon

    p, q = random_rows(500, 5, 2, zeros=True), random_rows(500, 5, 3, zeros=True)
    expected = jensenshannon(p, q, base=2, axis=1) ** 2
    np.testing.assert_allclose(m.jensen_shannon(p, q), expected, rtol=1e-7, atol=1e-12)


def test_mutual_information_against_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    generator = np.random.default_rng(4)
    table = generator.integers(0, 9, (6, 4))
    rows, columns = np.nonzero(table)
    x = np.repeat(rows, table[rows, columns])
    y = np.repeat(columns, table[rows, columns])
    joint = as_distributions(table.reshape(1, -1), counts=True).reshape(table.shape)
    assert m.mutual_information(joint, math.e) == pytest.approx(mutual_info_score(x, y), abs=1e-12)
    independent = np.outer([0.2, 0.8], [0.5, 0.3, 0.2])
    assert m.mutual_information(independent) == pytest.approx(0, abs=1e-15)
    assert m.mutual_information(np.eye(4) / 4) == pytest.approx(2.0, abs=1e-15)


def test_closed_forms() -> None:
    for k in (1, 2, 5, 256):
        assert m.shannon_entropy(np.full(k, 1 / k)) == pytest.approx(math.log2(k), abs=1e-12)
    p = 0.3
    bernoulli = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert m.shannon_entropy(np.array([p, 1 - p])) == pytest.approx(bernoulli, abs=1e-15)
    geometric = np.array([(1 - p) ** i * p for i in range(400)])
    assert m.shannon_entropy(geometric) == pytest.approx(bernoulli / p, abs=1e-12)
    deterministic = np.array([0.0, 1.0, 0.0])
    assert m.shannon_entropy(deterministic) == 0.0
    assert math.copysign(1, m.shannon_entropy(deterministic)) == 1
    assert m.perplexity(deterministic) == 1.0


def test_the_example_of_the_review() -> None:
    assert m.shannon_entropy(np.array([0.4, 0.4, 0.2])) == pytest.approx(
        0.8 * math.log2(2.5) + 0.2 * math.log2(5), abs=1e-15
    )


def test_what_q_excludes_costs_infinitely_much() -> None:
    p, q = np.array([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5]]), np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    assert m.cross_entropy(p, q).tolist() == [math.inf, 0.0, 1.0]
    assert m.relative_entropy(p, q).tolist() == [math.inf, 0.0, 0.0]
    assert m.relative_entropy(q, p).tolist() == [1.0, 0.0, 0.0]
    assert m.jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "p is empty"),
        ([[]], "p is empty"),
        ([0.4, 0.4], r"the sum of p is 0\.8, but must be 1"),
        ([[0.5, 0.5], [0.5, 0.6]], r"the sum of row 2 of p is 1\.1"),
        ([-0.1, 1.1], r"p\[1\] is negative: -0\.1"),
        ([[0.5, 0.5], [0.5, math.nan]], r"p\[2\] in row 2 is not a finite number: nan"),
        ([math.inf, 0.0], "not a finite number: inf"),
    ],
)
def test_what_is_no_distribution(values: list[float], expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        as_distributions(values)


def test_counts_are_divided_by_their_sum() -> None:
    np.testing.assert_allclose(as_distributions([[1, 3], [2, 2]], counts=True), [[0.25, 0.75], [0.5, 0.5]])
    with pytest.raises(RequestError, match="must be above 0"):
        as_distributions([0, 0], counts=True)


weights = hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1e6)).filter(lambda w: w.sum() > 1e-3)


@given(weights)
def test_entropy_lies_between_0_and_log_n(w: m.Array) -> None:
    p = as_distributions(w, counts=True)
    assert 0 <= m.shannon_entropy(p) <= math.log2(len(p)) + 1e-12


@given(weights, st.integers(0, 2**32 - 1))
def test_divergence_is_not_negative(w: m.Array, seed: int) -> None:
    p = as_distributions(w, counts=True)
    q = np.random.default_rng(seed).dirichlet(np.ones(len(p)))
    divergence = m.relative_entropy(p, q)
    assert divergence >= 0
    if np.isfinite(divergence):
        assert divergence == pytest.approx(m.cross_entropy(p, q) - m.shannon_entropy(p), abs=1e-9)
    assert 0 <= m.jensen_shannon(p, q) <= 1 + 1e-12


@given(weights.filter(lambda w: len(w) > 1), st.data())
def test_merging_symbols_loses_information(w: m.Array, data: st.DataObject) -> None:
    """The data-processing inequality: neither entropy nor divergence grows when outcomes are merged."""
    p = as_distributions(w, counts=True)
    q = as_distributions(np.arange(1, len(p) + 1), counts=True)
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(p), max_size=len(p))))
    merged = [np.bincount(groups, values, minlength=4) for values in (p, q)]
    assert m.shannon_entropy(merged[0]) <= m.shannon_entropy(p) + 1e-9
    assert m.relative_entropy(*merged) <= m.relative_entropy(p, q) + 1e-9


def test_numbers_at_the_end_of_the_range_have_finite_measures() -> None:
    from scipy.special import rel_entr

    tiny = [[1.0, 1e-320], [1e-320, 1.0], [1.0, 5e-324], [0.5, 0.5], [1.0, 1e-200], [1.0, 1e-310]]
    for p, q in itertools.product(np.array(tiny), repeat=2):
        expected = rel_entr(p, q).sum() / math.log(2)
        assert m.relative_entropy(p, q) == pytest.approx(expected, rel=1e-12, abs=1e-300)
        # KL[p || q] = H(p; q) - H(p)
        assert m.cross_entropy(p, q) - m.shannon_entropy(p) == pytest.approx(expected, rel=1e-12, abs=1e-12)
        middle = (rel_entr(2 * p, p + q).sum() + rel_entr(2 * q, p + q).sum()) / 4 / math.log(2)
        assert m.jensen_shannon(p, q) == pytest.approx(middle, rel=1e-12, abs=1e-300)
    assert m.jensen_shannon(np.array([1.0, 5e-324]), np.array([1.0, 0.0])) == pytest.approx(0, abs=1e-300)
    np.testing.assert_array_equal(as_distributions([1e308] * 4, counts=True), [0.25] * 4)


@pytest.mark.parametrize("rare", [1e-150, 1e-200, 1e-320])
def test_mutual_information_of_what_is_rare(rare: float) -> None:
    # where one variable determines the other, I(X; Y) = H(X) = -e log2 e, though p(x) p(y) = e^2 may be no number
    for joint in (np.diag([1.0, rare]), np.diag([rare, 1.0])):
        assert m.mutual_information(joint) == pytest.approx(
            -rare * math.log2(rare), rel=1e-3 if rare < 1e-300 else 1e-12
        )
    assert m.mutual_information(np.array([[0.5, rare], [rare, 0.5]])) == pytest.approx(1.0, abs=1e-12)
