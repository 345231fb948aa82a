"""A network for images from a file of weights, under dlkit's names."""

from __future__ import annotations

from typing import Any

import torch

from dlkit.app.import_request import ImportRequest, vision_recipe
from dlkit.app.imported_model import Imported
from dlkit.assemble import untrained_model
from dlkit.data.dataset import imagenet_statistics
from dlkit.errors import RequestError
from dlkit.pretrained.open_weights import open_weights
from dlkit.pretrained.vision import load_pretrained, output_count
from dlkit.recipe.components import components
from dlkit.tasks.array_data import ArrayData
from dlkit.training.weights import load_weights


def imported_vision(request: ImportRequest) -> Imported:
    """Read weights of a network for images.

    Raises:
        RequestError: there are more or fewer names than outputs, or statistics than channels.
        DlkitError: the weights are damaged, or not those of the model.
    """
    weights = open_weights(request.path)
    recipe = vision_recipe(request, weights.description.get("input_shape", [None])[-1])
    size = recipe.values["data"]["size"]
    saved = {"input_shape": [3, size, size], "classes": ["one", "two"], "mean": [0.0] * 3, "std": [1.0] * 3}
    outputs = output_count(weights.tensors, untrained_model(recipe, ArrayData.described(saved)))
    remarks = [*request.remarks, *_assumed_view(request, recipe.values["data"])]
    classes = request.classes or weights.classes
    if not classes:
        classes = tuple(str(index) for index in range(outputs))
        unnamed = f"{request.path} does not name its classes: they are 0 to {outputs - 1}"
        remarks.append(f"{unnamed}; --classes names them")
    if len(classes) != outputs:
        raise RequestError(
            f"{len(classes)} names of classes, {request.path} has {outputs} outputs", "name each output, in their order"
        )
    mean, std = _statistics(request, weights.description)
    saved |= {"classes": list(classes), "mean": mean, "std": std}
    described = ArrayData.described(saved)
    model = untrained_model(recipe, described)
    _, [(_, keys)] = components("model", recipe.values["model"])
    zeros = keys["shortcut_zeros"]
    remarks += load_pretrained(model, load_weights, classes, weights=request.path, labels=classes, shortcut_zeros=zeros)
    return Imported(recipe, model, described.description, remarks)


def _assumed_view(request: ImportRequest, data: dict[str, Any]) -> list[str]:
    """How images are preprocessed where nothing says so: weights of one architecture come with several ways."""
    said = any(change.split("=")[0] in ("data.crop", "data.resize") for change in request.changes)
    if request.known or said or data["crop"] == 1:
        return []
    margin = round(data["size"] / data["crop"])
    return [
        f"{request.path} does not say how its images are seen: they are resized to {margin} pixels, and {data['size']} "
        "are cut out; data.resize=N says otherwise (torchvision's second weights: 232 for 224)"
    ]


def _statistics(request: ImportRequest, known: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and deviation of the channels in 0..255: as given, or as a run of dlkit has them, or ImageNet's."""
    if request.mean is None or request.std is None:
        if "mean" in known:
            return known["mean"], known["std"]
        mean, std = imagenet_statistics(3)
        return mean.tolist(), std.tolist()
    if len(request.mean) != 3 or len(request.std) != 3 or min(request.std) <= 0 or max(request.mean) > 1:
        given = f"{', '.join(map(str, request.mean))} and {', '.join(map(str, request.std))}"
        raise RequestError(f"mean and std are {given}", "give three numbers in 0..1 each, deviations above 0")
    found = (torch.tensor(values, dtype=torch.float64) * 255 for values in (request.mean, request.std))
    mean, std = (values.float().tolist() for values in found)
    return mean, std
