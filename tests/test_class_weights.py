"""Weights of classes in the cross-entropy, against torch's own and scikit-learn's class_weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from dlkit.errors import RequestError
from dlkit.losses import CrossEntropy

COUNTS = {"a": 70, "b": 20, "c": 10}
TARGETS = torch.repeat_interleave(torch.arange(3), torch.tensor(list(COUNTS.values())))
LOGITS = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))


def test_balanced_is_that_of_scikit_learn() -> None:
    loss = CrossEntropy(class_weights="balanced")
    loss.weigh(COUNTS)
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy())).float()
    # over all of the data these weights add up to N, so that torch's weighted mean is the same
    torch.testing.assert_close(loss(LOGITS, TARGETS), F.cross_entropy(LOGITS, TARGETS, weight=weights))
    # each class counts as much as another
    each = F.cross_entropy(LOGITS, TARGETS, reduction="none")
    means = torch.stack([each[k == TARGETS].mean() for k in range(3)])
    torch.testing.assert_close(loss(LOGITS, TARGETS), means.mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_in_the_order_of_the_classes(smoothing: float) -> None:
    loss = CrossEntropy(class_weights=(1, 0, 2.5), label_smoothing=smoothing)
    loss.weigh(COUNTS)
    w = torch.tensor([1, 0, 2.5])[TARGETS]
    each = F.cross_entropy(LOGITS, TARGETS, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(loss(LOGITS, TARGETS), (w * each).mean())
    # an example of weight 2 is two examples
    twice = CrossEntropy(class_weights=(1, 1, 2))
    twice.weigh(COUNTS)
    doubled: Any = torch.cat([torch.arange(100), torch.arange(90, 100)])
    expected = F.cross_entropy(LOGITS[doubled], TARGETS[doubled], reduction="sum") / 100
    torch.testing.assert_close(twice(LOGITS, TARGETS), expected)


def test_a_class_without_examples_is_no_matter() -> None:
    loss = CrossEntropy(class_weights="balanced")
    loss.weigh({"a": 70, "none": 0, "c": 30})
    targets = torch.where(TARGETS == 0, 0, 2)
    weights = torch.tensor([100 / 140, 1.0, 100 / 60])
    torch.testing.assert_close(loss(LOGITS, targets), F.cross_entropy(LOGITS, targets, weight=weights))


def test_wrong_weights() -> None:
    with pytest.raises(RequestError, match="has 2 weights for 3 classes") as caught:
        CrossEntropy(class_weights=(1, 2)).weigh(COUNTS)
    assert caught.value.hint == "one for each, in this order: a, b, c"
    with pytest.raises(RequestError, match="the data has no classes"):
        CrossEntropy(class_weights="balanced").weigh(None)
