"""A trained classifier on data that it was not trained on: `dlkit eval --ood`."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlkit.app.evaluation import Trained
from dlkit.catalog import SECTIONS, import_object
from dlkit.data.dataset import Dataset, Split
from dlkit.data.images import ood_sources
from dlkit.data.images.class_folders import FileTally, find_images
from dlkit.data.images.image_sources import ImageArray, ImageFiles
from dlkit.distributed.process_group import current_world
from dlkit.errors import RequestError
from dlkit.metrics import ood
from dlkit.recipe import Recipe
from dlkit.tasks.array_data import ArrayData
from dlkit.tasks.ood_scores import ScoreMeter
from dlkit.training.evaluate import evaluate_split
from dlkit.training.precision import autocast
from dlkit.training.settings import TestViews

MOST_NOISE = 10_000  # images of noise, at most


@dataclass
class OODData:
    """Out-of-distribution images in the form that the model takes.

    `source` is as requested, `extent` the part of which file it is, as fields of a record.
    """

    source: str
    split: str
    extent: dict[str, Any]
    images: Any  # (N, C, H, W) uint8, or a Source of them
    taken: str = ""  # what was taken of a folder and what was left out, for the user


@dataclass
class OODEvaluation:
    """One out-of-distribution set: `scores`, (N,) each, and how well each tells it from the in-distribution split."""

    source: str
    split: str
    extent: dict[str, Any]
    samples: int
    scores: dict[str, Tensor]
    metrics: dict[str, float]
    seconds: float
    damaged: dict[str, str]  # images that were left out: name -> why


def read_ood_data(recipe: Recipe, found: Trained, split: str | None, sources: Sequence[str]) -> list[OODData]:
    """Read every source: what is wrong with any of them shows before anything is evaluated.

    Args:
        recipe: of the run.
        found: its model and data.
        split: the in-distribution examples; as `evaluate_trained` has it.
        sources: `noise`, `images:FOLDER`, a data set's name, or NAME:CLASS,... for some of its classes.

    Raises:
        RequestError: the run is not about images, or there is no such class or split.
        DlkitError: what the readers of data raise.
    """
    inside = found.dataset.images
    if inside is None:
        raise RequestError(f"`ood` is about images, and {found.dataset.name} has none", "leave `ood` out")
    found.dataset.require_split(split := split or found.dataset.default_split)
    count = min(len(inside.splits[split].targets), MOST_NOISE)
    streamed = not isinstance(inside.splits[split].inputs, Tensor)
    others: list[OODData] = []
    for source in sources:
        folder = Path(source.removeprefix("images:")).expanduser() if source.startswith("images:") else None
        if folder is not None and streamed:
            # decoded when needed, and cut as the run's own images are
            files, tally = find_images(folder)
            pictures: Any = ImageFiles([str(file) for file in files], inside.input_shape[-1])
            others.append(_of_folder(source, folder, pictures, tally))
            continue
        if folder is not None:
            images, tally = ood_sources.ood_folder(folder, _shape(inside), inside.white / 255)
            others.append(_of_folder(source, folder, images, tally))
            continue
        images, part, extent = _pixels(source, inside, count, recipe.values["seed"])
        others.append(OODData(source, part, extent, ImageArray(images) if streamed else images))
    return others


def evaluate_ood(
    recipe: Recipe,
    found: Trained,
    split: str,
    others: Sequence[OODData],
    device: torch.device,
    views: TestViews | None = None,
) -> tuple[dict[str, Tensor], list[OODEvaluation]]:
    """Scores of the examples of a split, (N,) each, and what they say of each out-of-distribution set.

    Args:
        recipe: of the run.
        found: its model and data.
        split: in-distribution examples.
        others: what `read_ood_data` has read.
        device: of the model.
        views: in place of the run's own test views.
    """
    dataset: Any = found.dataset.images
    seen: TestViews = views or found.settings.test_views
    last = found.settings.channels_last == "on"

    def scored(data: Dataset, name: str) -> tuple[ScoreMeter, float, dict[str, str]]:
        batches = ArrayData(data).batches(recipe, name, device, False, last)
        began = time.perf_counter()
        precision = functools.partial(autocast, found.settings.precision, device)
        meter = evaluate_split(found.model, batches, ScoreMeter(seen), precision, current_world())
        return meter, time.perf_counter() - began, getattr(batches, "damaged", {})

    inside = scored(dataset, split)[0].scores()
    results: list[OODEvaluation] = []
    for other in others:
        examples = Split(other.images, torch.zeros(other.images.shape[0], dtype=torch.int64))
        beside = dataclasses.replace(dataset, splits={"ood": examples})
        meter, seconds, damaged = scored(beside, "ood")
        scores = meter.scores()
        measures = ood.ood_measures(inside, scores)
        found_here = (other.source, other.split, other.extent, meter.samples)
        results.append(OODEvaluation(*found_here, scores, measures, seconds, damaged))
    return inside, results


def _of_folder(source: str, folder: Path, images: Any, tally: FileTally) -> OODData:
    left_out = {"left_out": dict(tally.left_out)} if tally.left_out else {}
    extent = {"path": str(folder.resolve()), "rows": "all", **left_out}
    return OODData(source, "all", extent, images, tally.line(folder, ()))


def _shape(inside: Dataset) -> tuple[int, int, int]:
    channels, height, width = inside.input_shape
    return channels, height, width


def _pixels(source: str, inside: Dataset, count: int, seed: int) -> tuple[Tensor, str, dict[str, Any]]:
    """The images of a source, (N, C, H, W) uint8 in the form of the in-distribution ones, and their extent."""
    shape = _shape(inside)
    if source == "noise":
        return ood_sources.uniform_noise(count, shape, inside.white, seed), "all", {"path": None, "rows": "all"}
    kind, _, classes = source.partition(":")
    dataset: Dataset = import_object(SECTIONS["data"][kind].target)()
    data = ArrayData(dataset)
    split = data.default_split
    images, described = dataset.splits[split].inputs, data.extent(split)
    if classes:
        images = images[_of_classes(dataset, split, classes.split(","))]
        described["rows"] = f"{len(images)} of {sum(len(part.targets) for part in dataset.splits.values())}"
    gain = inside.white / dataset.white
    return ood_sources.fit_images(images, shape, gain), split, described


def _of_classes(dataset: Dataset, split: str, names: list[str]) -> Tensor:
    """Which examples of a split are of these classes, (N,) bool."""
    for name in names:
        if name not in dataset.classes:
            raise RequestError(f"`ood` {dataset.name}:{name}: no such class", f"classes: {', '.join(dataset.classes)}")
    indices = torch.tensor([dataset.classes.index(name) for name in names])
    return torch.isin(dataset.splits[split].targets, indices)
