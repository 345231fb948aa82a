"""A subset of a data set: some of its classes, and some training examples of each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.errors import RequestError


def subset(dataset: Dataset, classes: tuple[str, ...] | None, per_class: int | None, draw: int = 0) -> Dataset:
    """A subset with the statistics of its own training examples; the data set itself if nothing is left out.

    Args:
        dataset: in memory.
        classes: those to keep, numbered in this order; None for all.
        per_class: training examples to keep of each class, at most; None for all. Other splits stay whole.
        draw: seed of the choice of `per_class` examples, which depends on the labels and this number alone.

    Raises:
        RequestError: the data set lacks a class, a class is given twice, or only one of several is kept.
    """
    if classes is None and per_class is None:
        return dataset
    names = dataset.classes if classes is None else classes
    strange = [name for name in names if name not in dataset.classes]
    if strange:
        shown = ", ".join(dataset.classes[:20]) + (", ..." if len(dataset.classes) > 20 else "")
        raise RequestError(f"{dataset.name} has no class {strange[0]!r}", f"data.classes takes {shown}")
    if len(set(names)) < max(min(2, len(dataset.classes)), len(names)):
        raise RequestError(f"data.classes = {', '.join(names)}", "give at least two classes, each once")
    new_index = torch.full((len(dataset.classes),), -1)
    for new, name in enumerate(names):
        new_index[dataset.classes.index(name)] = new
    splits: dict[str, Split] = {}
    called: dict[str, Callable[[int], str]] = {}
    for name, split in dataset.splits.items():
        targets = new_index[split.targets]  # (N,), -1 for what is left out
        rows = (targets >= 0).nonzero().squeeze(1)
        if name == "train" and per_class is not None:
            rows = rows[_some(targets[rows], per_class, draw)]
        splits[name] = Split(split.inputs[rows], targets[rows])
        if dataset.names is not None:
            called[name] = functools.partial(_name_of, dataset.names[name], rows)
    kept = {"classes": list(names), "per_class": per_class, "draw": draw}
    sources = {key: value for key, value in dataset.sources.items() if key not in ("name", "rows", "sha256")}
    made = make_dataset(dataset.name, splits, names, **sources, subset=kept)
    return replace(made, names=called or None, white=dataset.white)


def _some(targets: Tensor, per_class: int, draw: int) -> Tensor:
    """Ascending indices of `per_class` examples of each class, or of all if there are fewer."""
    keys = np.random.PCG64((draw, 3)).random_raw(len(targets))  # its raw stream is the same in every version of numpy
    order = torch.from_numpy(np.lexsort((keys, targets.numpy())))  # by class, then by key
    counts = torch.bincount(targets)
    rank = torch.arange(len(targets)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return order[rank < per_class].sort().values


def _name_of(name: Callable[[int], str], rows: Tensor, row: int) -> str:
    return name(int(rows[row]))
