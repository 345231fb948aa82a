"""Metrics of constructed patterns have their theoretical values, for blocks of rows of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlkit.attention.metrics import LINEAR_METRICS, HeadMetrics, TokenPositions
from dlkit.attention.request import METRICS

T = 12


def positions(tokens: list[int], causal: bool, special: list[int] | None = None, **keys: int) -> TokenPositions:
    marked = torch.zeros(len(tokens), dtype=torch.bool)
    marked[special or []] = True
    return TokenPositions(torch.tensor(tokens), marked, causal, **keys)


def scores(weights: Tensor, where: TokenPositions) -> dict[str, float]:
    metrics = HeadMetrics(where, 1, 1)
    metrics.update(0, 0, weights[None].double())
    return {name: float(value[0, 0]) for name, value in metrics.compute().items()}


def uniform(causal: bool) -> Tensor:
    seen = torch.ones(T, T, dtype=torch.float64)
    seen = seen.tril() if causal else seen
    return seen / seen.sum(1, keepdim=True)


def test_uniform_attention_of_a_gpt() -> None:
    found = scores(uniform(True), positions(list(range(T)), True))
    bits = [math.log2(i + 1) for i in range(T)]
    assert found["entropy"] == pytest.approx(np.mean(bits), abs=1e-12)
    assert found["entropy_share"] == pytest.approx(1, abs=1e-12)
    later = [1 / (i + 1) for i in range(1, T)]
    for name in ("sink", "first", "previous"):
        assert found[name] == pytest.approx(np.mean(later), abs=1e-12)
    assert found["same"] == pytest.approx(np.mean([1, *later]), abs=1e-12)
    assert found["distance"] == pytest.approx(np.mean([i / 2 for i in range(T)]), abs=1e-12)
    assert found["diagonality"] == pytest.approx(0.5, abs=1e-12)
    for name in ("next", "duplicate", "prefix"):  # no token sees the next one, none stands there twice
        assert math.isnan(found[name])


def test_uniform_attention_of_a_bert() -> None:
    found = scores(uniform(False), positions(list(range(T)), False, [0, T - 1]))
    assert found["entropy"] == pytest.approx(math.log2(T), abs=1e-12)
    assert found["entropy_share"] == pytest.approx(1, abs=1e-12)
    assert found["sink"] == pytest.approx(2 / T, abs=1e-12)
    for name in ("first", "previous", "next", "same"):
        assert found[name] == pytest.approx(1 / T, abs=1e-12)
    # the mean of |i - j| over all pairs is (T^2 - 1) / (3 T)
    assert found["distance"] == pytest.approx((T**2 - 1) / (3 * T), abs=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_the_identity(causal: bool) -> None:
    found = scores(torch.eye(T), positions([0, 1] * (T // 2), causal))
    assert found["same"] == found["diagonality"] == pytest.approx(1, abs=1e-12)
    for name in ("entropy", "entropy_share", "previous", "duplicate", "prefix", "distance"):
        assert found[name] == pytest.approx(0, abs=1e-12)
    assert found["sink"] == pytest.approx(0 if causal else 1 / T, abs=1e-12)  # a GPT's first token has no choice


@pytest.mark.parametrize("causal", [True, False])
def test_a_previous_token_head(causal: bool) -> None:
    weights = torch.eye(T).roll(-1, 1)
    weights[0] = torch.eye(T)[0]
    found = scores(weights, positions(list(range(T)), causal))
    assert found["previous"] == pytest.approx(1, abs=1e-12)
    assert found["entropy"] == found["entropy_share"] == 0
    assert found["distance"] == pytest.approx((T - 1) / T, abs=1e-12)
    assert found["same"] == pytest.approx(1 / T, abs=1e-12)
    assert found["first"] == pytest.approx(1 / (T - 1) if causal else 2 / T, abs=1e-12)


def test_a_next_token_head() -> None:
    weights = torch.eye(T).roll(1, 1)
    weights[-1] = torch.eye(T)[-1]
    assert scores(weights, positions(list(range(T)), False))["next"] == pytest.approx(1, abs=1e-12)


def test_duplicates_and_induction() -> None:
    tokens = [9, 1, 2, 3, 4, 1, 2, 3, 4]
    where = positions(tokens, True)
    duplicate, induction = torch.eye(9), torch.eye(9)
    for i in range(5, 9):
        duplicate[i] = torch.eye(9)[i - 4]
        induction[i] = torch.eye(9)[i - 3]
    found = scores(duplicate, where)
    assert (found["duplicate"], found["prefix"]) == (1, 0)
    found = scores(induction, where)
    assert (found["duplicate"], found["prefix"]) == (0, 1)
    both = scores((duplicate + induction) / 2, where)
    assert both["duplicate"] == both["prefix"] == pytest.approx(0.5, abs=1e-12)
    # only the queries from 5 on count where they are chosen
    chosen = scores(induction, positions(tokens, True, start=5))
    assert chosen["same"] == 0 and chosen["prefix"] == 1 and chosen["distance"] == pytest.approx(3)


def test_a_single_token() -> None:
    found = scores(torch.ones(1, 1), positions([3], True))
    assert found["entropy"] == 0
    assert found["same"] == 1
    assert all(math.isnan(found[name]) for name in ("entropy_share", "sink", "previous", "diagonality"))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=14), st.booleans(), st.integers(1, 5), st.integers(0, 2**16))
def test_blocks_give_what_a_loop_gives(tokens: list[int], causal: bool, block: int, seed: int) -> None:
    torch.manual_seed(seed)
    count = len(tokens)
    logits = torch.randn(3, count, count, dtype=torch.float64) * 3
    hidden = torch.ones(count, count, dtype=torch.bool).triu(1)
    weights = (logits.masked_fill(hidden, -math.inf) if causal else logits).softmax(-1)
    where = positions(tokens, causal, [0])
    sums = HeadMetrics(where, 1, 3)
    for start in range(0, count, block):
        stop = min(start + block, count)
        sums.update(0, start, weights[:, start:stop, : stop if causal else count])
    found = {name: value[0] for name, value in sums.compute().items()}
    assert {*found, "induction"} == set(METRICS)
    for head in range(3):
        for name in LINEAR_METRICS:
            expected = by_loop(weights[head].numpy(), tokens, causal, name)
            np.testing.assert_allclose(found[name][head], expected, atol=1e-12, err_msg=name)


def by_loop(a: np.ndarray, tokens: list[int], causal: bool, name: str) -> float:
    """The definition, one pair at a time."""
    values: list[float] = []
    for i in range(len(tokens)):
        seen = range(i + 1) if causal else range(len(tokens))
        most = max(abs(i - j) for j in seen)
        if name == "distance":
            values.append(sum(a[i, j] * abs(i - j) for j in seen))
        elif name == "diagonality":
            values += [sum(a[i, j] * (1 - abs(i - j) / most) for j in seen)] if most else []
        elif name in ("sink", "first"):
            values += [a[i, 0]] if len(seen) > 1 else []
        else:
            kind = {
                "previous": lambda j, i=i: j == i - 1,
                "next": lambda j, i=i: j == i + 1,
                "same": lambda j, i=i: j == i,
                "duplicate": lambda j, i=i: tokens[j] == tokens[i] and j != i,
                "prefix": lambda j, i=i: 0 < j < i and tokens[j - 1] == tokens[i],
            }[name]
            chosen = [j for j in seen if kind(j)]
            values += [sum(a[i, j] for j in chosen)] if chosen else []
    return float(np.mean(values)) if values else math.nan
