"""The fixed split: exact totals, proportions to within one, no class lost, the same everywhere."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data.splits import held_out_counts, hold_out, split_three_ways
from dlkit.errors import DlkitError

SHARES = st.integers(0, 999).map(lambda n: n / 1000)


@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=12), share=SHARES)
def test_each_class_gives_its_share_to_within_one_and_totals_are_exact(counts: list[int], share: float) -> None:
    held = held_out_counts(np.array(counts), share)
    exact = Fraction(round(share * 1000), 1000)
    for count, out in zip(counts, held, strict=True):
        assert abs(out - count * exact) < 1
        assert out < count or count == 0
    wanted = math.ceil(sum(counts) * exact)
    assert held.sum() <= wanted
    could_give = [c for c, h in zip(counts, held, strict=True) if h < math.ceil(c * exact) and h + 1 < c]
    assert held.sum() == wanted or not could_give


def test_the_largest_remainders_are_rounded_up() -> None:
    # quotas 2.2, 1.8, 1.0 (5 in all): the second is the nearest to its next whole number
    assert held_out_counts(np.array([11, 9, 5]), 0.2).tolist() == [2, 2, 1]
    assert held_out_counts(np.array([10, 20]), 0.1).tolist() == [1, 2]  # no rounding error of 0.1 gives a fourth


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=200), share=SHARES, seed=st.integers(0, 2**32))
def test_hold_out_parts_the_rows_and_keeps_every_class(labels: list[int], share: float, seed: int) -> None:
    classes = np.array(labels)
    kept, held = hold_out(classes, share, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    assert set(classes[kept]) == set(labels)
    counts = held_out_counts(np.bincount(classes), share)
    assert np.bincount(classes[held], minlength=len(counts)).tolist() == counts.tolist()


def test_rows_are_chosen_at_random_and_by_seed() -> None:
    labels = np.zeros(1000, dtype=np.int64)
    one, two = hold_out(labels, 0.5, 1)[1], hold_out(labels, 0.5, 2)[1]
    assert abs(one.mean() - 499.5) < 40  # neither the first nor the last ones: 4 standard errors
    assert 180 < len(set(one) & set(two)) < 320


def test_three_way_shares_are_of_all_rows_and_then_of_the_rest() -> None:
    labels = np.repeat([0, 1], [300, 100])
    parts = split_three_ways(labels, ("a", "b"), test=0.2, validation=0.1)
    assert list(parts) == ["train", "val", "test"]
    assert [np.bincount(labels[rows]).tolist() for rows in parts.values()] == [[216, 72], [24, 8], [60, 20]]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(400))
    without = split_three_ways(labels, ("a", "b"), test=0.2, validation=0.0)
    assert without["test"].tolist() == parts["test"].tolist()
    assert list(split_three_ways(labels, ("a", "b"), test=0.0, validation=0.0)) == ["train"]


def test_a_class_too_small_to_split_is_named() -> None:
    with pytest.raises(DlkitError, match="'b' has too few rows"):
        split_three_ways(np.array([0, 0, 0, 1]), ("a", "b"), test=0.2, validation=0.0)
    assert split_three_ways(np.array([0, 0, 0, 1]), ("a", "b"), test=0.0, validation=0.0)["train"].tolist() == [
        0,
        1,
        2,
        3,
    ]
    with pytest.raises(DlkitError, match="too few to hold out validation"):
        split_three_ways(np.array([0, 0, 1, 1]), ("a", "b"), test=0.5, validation=0.5)
