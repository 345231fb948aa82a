"""Some classes of a data set, and some examples of each."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.images.digits import digits
from dlkit.data.subset import subset
from dlkit.errors import RequestError


def whole() -> Dataset:
    """Images whose one pixel tells their row; classes by turns."""
    targets = torch.arange(40) % 4
    inputs = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    splits = {"train": Split(inputs, targets), "test": Split(inputs[:8], targets[:8])}
    return make_dataset("rows", splits, ("a", "b", "c", "d"), path="nowhere")


def test_nothing_asked_for_is_the_data_itself() -> None:
    data = whole()
    assert subset(data, None, None) is data


def test_classes_are_numbered_in_the_order_given() -> None:
    part = subset(whole(), ("d", "b"), None)
    assert part.classes == ("d", "b")
    rows, targets = part.splits["train"].inputs.flatten(), part.splits["train"].targets
    assert rows.tolist() == [row for row in range(40) if row % 4 in (1, 3)]
    assert targets.tolist() == [0 if row % 4 == 3 else 1 for row in rows.tolist()]
    assert part.splits["test"].inputs.flatten().tolist() == [1, 3, 5, 7]
    assert part.mean.item() == pytest.approx(rows.float().mean().item())
    assert part.sources["rows"] == {"train": 20, "test": 4}
    assert part.sources["subset"] == {"classes": ["d", "b"], "per_class": None, "draw": 0}


def test_so_many_examples_of_each_class() -> None:
    parts = [subset(whole(), None, 3, draw) for draw in (0, 0, 1)]
    rows = [part.splits["train"].inputs.flatten().tolist() for part in parts]
    assert rows[0] == rows[1] != rows[2]
    assert all(row == sorted(row) for row in rows)
    assert all(part.splits["train"].targets.bincount().tolist() == [3] * 4 for part in parts)
    assert all(len(part.splits["test"].targets) == 8 for part in parts)
    everything = subset(whole(), None, 1000)
    assert torch.equal(everything.splits["train"].inputs, whole().splits["train"].inputs)


def test_every_example_is_drawn_alike() -> None:
    counts = torch.zeros(40)
    for draw in range(400):
        counts[subset(whole(), None, 3, draw).splits["train"].inputs.flatten().long()] += 1
    # each with probability 3/10: sd = sqrt(400 * 0.3 * 0.7) = 9.2
    assert counts.sum() == 400 * 12
    assert (counts - 120).abs().max() < 5 * 9.2


@pytest.mark.parametrize(
    ("classes", "message"),
    [(("a", "x"), "rows has no class 'x'"), (("a",), "data.classes = a"), (("a", "b", "a"), "data.classes = a, b, a")],
)
def test_refusals(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        subset(whole(), classes, None)


def test_a_part_of_the_digits_has_their_range() -> None:
    """Otherwise other images would be given to its model with values up to 255."""
    assert digits(classes=("0", "1")).white == digits(per_class=3).white == load_digits().data.max() == 16


def test_digits() -> None:
    part = digits(classes=("3", "8"), per_class=10)
    assert part.splits["train"].targets.bincount().tolist() == [10, 10]
    full = digits()
    both = int(((full.splits["test"].targets == 3) | (full.splits["test"].targets == 8)).sum())
    assert len(part.splits["test"].targets) == both
