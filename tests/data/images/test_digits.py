"""The digits: the same images as scikit-learn's, the same split for ever, without scikit-learn's import."""

from __future__ import annotations

import hashlib
import sys
import typing

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dlkit.data.images import digits as module
from dlkit.data.images.digits import digits
from dlkit.data.splits import split_three_ways


def test_images_and_labels_are_those_of_load_digits() -> None:
    pixels, labels = load_digits(return_X_y=True)
    read_pixels, read_labels = module._read()
    assert np.array_equal(read_pixels, pixels)
    assert np.array_equal(read_labels, labels)
    rows = split_three_ways(read_labels, tuple("0123456789"), test=0.2, validation=0.0)
    for name, split in digits().splits.items():
        assert split.inputs.dtype == torch.uint8
        assert np.array_equal(split.inputs.flatten(1), pixels[rows[name]])
        assert np.array_equal(split.targets, labels[rows[name]])


def test_load_digits_is_used_where_the_file_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = module._read()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for ours, theirs in zip(expected, module._read(), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_the_split_is_pinned() -> None:
    rows = split_three_ways(module._read()[1], tuple("0123456789"), test=0.2, validation=0.1)
    hashes = {name: hashlib.sha256(part.astype("<i8")).hexdigest()[:16] for name, part in rows.items()}
    assert hashes == {"train": "849833d7f94594f8", "val": "51c7ac2b969f52a9", "test": "8fa854dba129c072"}


def test_sizes_statistics_and_provenance() -> None:
    data = digits()
    assert {name: len(split.targets) for name, split in data.splits.items()} == {"train": 1437, "test": 360}
    assert data.input_shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    pixels = data.splits["train"].inputs.double()
    assert data.mean.tolist() == pytest.approx([pixels.mean().item()])
    assert data.std.tolist() == pytest.approx([pixels.std(correction=0).item()])
    assert data.sources["rows"] == {"train": 1437, "test": 360}
    assert data.sources["sha256"] == digits().sources["sha256"] != digits(validation=0.1).sources["sha256"]


def test_validation_comes_out_of_training_only() -> None:
    plain, held = digits(), digits(validation=0.1)
    assert {name: len(split.targets) for name, split in held.splits.items()} == {"train": 1293, "val": 144, "test": 360}
    assert torch.equal(plain.splits["test"].inputs, held.splits["test"].inputs)
    assert held.splits["val"].targets.bincount().tolist() == pytest.approx([14.4] * 10, abs=1)


def test_annotations_resolve() -> None:
    assert "validation" in typing.get_type_hints(digits, include_extras=True)


def test_scikit_learn_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # an import of it would fail
    assert len(digits().splits["test"].targets) == 360
