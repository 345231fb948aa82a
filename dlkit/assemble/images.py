"""What images and rows need beyond the parts of a recipe: batches, pre-trained weights, layers set by the data."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.assemble.components import parts
from dlkit.data.dataset import Dataset, Split
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.train.interfaces import BatchSource
from dlkit.train.weights import load_weights

_SAMPLE = 5000  # images that a whitening layer is set by, as in Jordan 2024, arXiv:2404.00498


def prepare(model: nn.Module, recipe: Recipe, dataset: Dataset) -> list[str]:
    """Set what the model takes from the data, load its pre-trained weights, freeze. Returns remarks on the weights."""
    whiten: Any = getattr(model, "whiten", None)
    if whiten is not None:
        if not isinstance(dataset.splits["train"].inputs, Tensor):
            raise RequestError(f"this model is set by its data, and {dataset.name} is streamed", "use another model")
        whiten(_sample(recipe, dataset))
    _, others = parts("model", recipe.values["model"])
    return [
        remark for pretrained, keys in others for remark in pretrained(model, load_weights, dataset.classes, **keys)
    ]


def batches(
    recipe: Recipe, dataset: Dataset, split: str, device: torch.device, training: bool, channels_last: bool
) -> BatchSource:
    """Batches of one split, which is there."""
    _, [(constructor, keys)] = parts("data", recipe.values["data"])
    arguments = [dataset.splits[split], dataset.mean, dataset.std, device, recipe.values["seed"], training]
    if channels_last:
        arguments.append(channels_last)
    return constructor(*arguments, **keys)


def _sample(recipe: Recipe, dataset: Dataset) -> Tensor:
    """Some training inputs, from all over the split, normalised but not augmented."""
    split = dataset.splits["train"]
    rows = slice(None, None, max(1, len(split.targets) // _SAMPLE))
    few = dataclasses.replace(dataset, splits={"train": Split(split.inputs[rows], split.targets[rows])})
    source = batches(recipe, few, "train", torch.device("cpu"), False, False)
    return torch.cat([batch[0] for batch in source.epoch(0)])
