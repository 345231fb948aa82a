"""A trained classifier on data that it was not trained on: `dlkit eval --ood`."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dlkit import build
from dlkit.catalog import SECTIONS, resolve
from dlkit.data import outside
from dlkit.data.dataset import Dataset, Split
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.train import ood
from dlkit.train.evaluate import evaluate
from dlkit.train.loop import autocast
from dlkit.train.settings import Views

WHITE = {"digits": 16}  # the brightest number of a pixel, where it is not 255
MOST_NOISE = 10_000  # images of noise, at most


@dataclass
class Outside:
    """One out-of-distribution set: `scores`, (N,) each, and how they part from those of the test data."""

    source: str
    split: str
    samples: int
    scores: dict[str, Tensor]
    metrics: dict[str, float]
    seconds: float


def detection(
    recipe: Recipe,
    checkpoint: Path,
    split: str | None,
    sources: Sequence[str],
    device: torch.device,
    views: Views | None = None,
) -> tuple[dict[str, Tensor], list[Outside]]:
    """Scores of a split of the recipe's data, and of each other source beside it.

    Args:
        recipe: of the run.
        checkpoint: of the run.
        split: the in-distribution examples; `test` or else `val` by default.
        sources: `noise`, `images:FOLDER`, a data set's name, or NAME:CLASS,... for some of its classes.
        device: to run on.
        views: stands for the recipe's test_views.

    Raises:
        RequestError: the run is not about images, or there is no such source.
        DlkitError: what `build.trained` and the readers of data raise.
    """
    found = build.trained(recipe, checkpoint, device)
    dataset = found.dataset
    if not isinstance(dataset, Dataset) or len(dataset.input_shape) != 3:
        raise RequestError(f"--ood is about images, and {dataset.name} has none", "leave --ood out")
    seen: Views = views or found.settings.test_views
    last = found.settings.channels_last == "on"

    def scored(data: Dataset, name: str) -> tuple[dict[str, Tensor], int, float]:
        batches = build.split_batches(recipe, data, name, device, False, last)
        began = time.perf_counter()
        precision = functools.partial(autocast, found.settings.precision, device)
        meter = evaluate(found.model, batches.epoch(0), ood.ScoreMeter(seen), precision)
        return meter.scores(), meter.samples, time.perf_counter() - began

    split = split or build.evaluated_splits(dataset)[-1]
    inside, count, _ = scored(dataset, split)
    white = WHITE.get(recipe.values["data"]["name"], 255)
    results: list[Outside] = []
    for source in sources:
        images, part = read(source, dataset, white, min(count, MOST_NOISE), recipe.values["seed"])
        examples = Split(images, torch.zeros(len(images), dtype=torch.int64))
        other = dataclasses.replace(dataset, splits={**dataset.splits, "outside": examples})
        scores, samples, seconds = scored(other, "outside")
        results.append(Outside(source, part, samples, scores, ood.measures(inside, scores), seconds))
    return inside, results


def read(source: str, inside: Dataset, white: int, count: int, seed: int) -> tuple[Tensor, str]:
    """The images of a source, (N, C, H, W) uint8 in the form of the inside ones, and the split that they are."""
    channels, height, width = inside.input_shape
    shape = (channels, height, width)
    kind, _, place = source.partition(":")
    if kind == "images":
        return outside.folder(Path(place).expanduser(), shape, white / 255), "all"
    if kind == "noise":
        return outside.noise(count, shape, white, seed), "all"
    dataset: Dataset = resolve(SECTIONS["data"][kind].target)()
    split = build.evaluated_splits(dataset)[-1]
    images = dataset.splits[split].inputs
    if place:
        images = images[_of_classes(dataset, split, place.split(","))]
    gain = white / WHITE.get(kind, 255)
    return outside.fitted(images, shape, gain), split


def _of_classes(dataset: Dataset, split: str, names: list[str]) -> Tensor:
    """Which examples of a split are of these classes, (N,) bool."""
    for name in names:
        if name not in dataset.classes:
            raise RequestError(f"--ood {dataset.name}:{name}: no such class", f"classes: {', '.join(dataset.classes)}")
    numbers = torch.tensor([dataset.classes.index(name) for name in names])
    return torch.isin(dataset.splits[split].targets, numbers)
