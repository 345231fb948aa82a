"""The data of image-classification and tabular-classification: images or rows of features, each with a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dlkit import user_code
from dlkit.data.dataset import Dataset, Split, imagenet_statistics
from dlkit.data.examination.contact_sheet import SheetImages
from dlkit.data.examination.duplicates import KeyedExample, keyed_files, keyed_rows
from dlkit.data.examination.statistics import column_statistics
from dlkit.data.images.image_sources import ImageArray, ImageFiles, SelectedImages
from dlkit.data.images.ood_sources import with_values_up_to
from dlkit.data.known import Known
from dlkit.data.splits import name_unsplit
from dlkit.data.tables.table_file import join_names
from dlkit.errors import DlkitError, RequestError
from dlkit.nn.categories import CategoryColumns, WithCategories
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.tasks.classification import Classification
from dlkit.tasks.task_data import TaskData, read_component
from dlkit.training.interfaces import BatchSource
from dlkit.training.settings import TestViews
from dlkit.training.weights import load_weights

_WHITENING_IMAGES = 5000  # for the filters of a whitening layer, as in Jordan 2024, arXiv:2404.00498


def image_data(recipe: Recipe, saved: dict[str, Any] | None) -> ArrayData:
    """The data of image-classification; a checkpoint's classes are matched by name."""
    known = None if saved is None else Known(tuple(saved["classes"]))
    return ArrayData.agreeing(read_component(recipe, known), saved)


def row_data(recipe: Recipe, saved: dict[str, Any] | None) -> ArrayData:
    """The data of tabular-classification; a checkpoint's classes and columns are matched by name."""
    return ArrayData.agreeing(read_component(recipe, known_rows(recipe, saved)), saved)


def known_rows(recipe: Recipe, saved: dict[str, Any] | None) -> Known | None:
    """A checkpoint's columns and categories, so that rows are read as in training; None for a reader in user code."""
    if saved is None or user_code.is_reference(recipe.values["data"]["name"]):
        return None
    mean, std = (torch.tensor(saved[key], dtype=torch.float64) for key in ("mean", "std"))
    categories, stand_ins = _column_facts(saved)
    return Known(tuple(saved["classes"]), known_columns(recipe, saved), mean, std, categories, stand_ins)


def _column_facts(saved: dict[str, Any]) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    """A checkpoint's categories of each categorical column, and the values that replace missing numbers."""
    entries: list[dict[str, Any]] = saved.get("columns", [])
    categories = {entry["name"]: tuple(entry["categories"]) for entry in entries if "categories" in entry}
    return categories, {entry["name"]: entry["stand_in"] for entry in entries if "stand_in" in entry}


def known_columns(recipe: Recipe, saved: dict[str, Any]) -> dict[str, str]:
    """A checkpoint's columns with their types. Raises DlkitError if it does not name them."""
    columns: dict[str, str] = {entry["name"]: entry["type"] for entry in saved.get("columns", ())}
    if not columns:
        # earlier versions did not write them, and the position of a column may differ between files
        columns = dict.fromkeys(recipe.values["data"].get("columns") or (), "number")
        if len(columns) != saved["input_shape"][0]:
            raise DlkitError(
                "the checkpoint does not say which columns it was trained on: an earlier dlkit wrote it",
                "name them in the order of the training file: data.columns='[NAME, NAME, ...]'",
            )
    return columns


class ArrayData(TaskData):
    """Images (N, C, H, W) or rows of features (N, F), each with one class."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.dataset = dataset
        self.name, self.sources, self.columns = dataset.name, dataset.sources, dataset.columns
        self.classes = dataset.classes
        self.input_shape = dataset.input_shape  # (C, H, W) or (F,)
        self.outputs = len(self.classes)  # of the model, per example

    @property
    def images(self) -> Dataset | None:
        return self.dataset if len(self.input_shape) == 3 else None

    @classmethod
    def agreeing(cls, dataset: Dataset, saved: dict[str, Any] | None) -> ArrayData:
        """The data, with the classes and statistics of a checkpoint's description if one is given."""
        return cls(dataset if saved is None else _with_known_classes(dataset, saved))

    @classmethod
    def described(cls, saved: dict[str, Any]) -> ArrayData:
        """The data as described by a checkpoint, without examples."""
        shape = saved["input_shape"]
        kind = torch.uint8 if len(shape) == 3 else torch.float64
        none = Split(torch.empty(0, *shape, dtype=kind), torch.empty(0, dtype=torch.int64))
        mean, std = (torch.tensor(saved[key], dtype=torch.float64) for key in ("mean", "std"))
        columns = {entry["name"]: entry["type"] for entry in saved.get("columns", ())}
        categories, stand_ins = _column_facts(saved)
        encoding = saved.get("category_encoding", "embedding")
        classes = tuple(saved["classes"])
        return cls(
            Dataset(
                "new inputs", {"new": none}, classes, mean, std, {}, columns or None,
                categories=categories, stand_ins=stand_ins, category_encoding=encoding, white=saved.get("white", 255),
            )
        )  # fmt: skip

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(examples.targets) for name, examples in self.dataset.splits.items()}

    def targets(self, split: str) -> Tensor:
        return self.dataset.splits[split].targets

    def take_whole(self) -> None:
        # mean and standard deviation stay those of the training split
        self.dataset = dataclasses.replace(self.dataset, splits=name_unsplit(self.dataset.splits))

    def describe(self) -> dict[str, Any]:
        data = self.dataset
        columns = data.columns and [
            {"name": name, "type": kind}
            | ({"categories": list(data.categories[name])} if name in data.categories else {})
            | ({"stand_in": data.stand_ins[name]} if name in data.stand_ins else {})
            for name, kind in data.columns.items()
        ]
        return {
            "classes": list(data.classes),
            "input_shape": list(data.input_shape),
            "mean": data.mean.tolist(),
            "std": data.std.tolist(),
            **({"white": data.white} if self.images else {}),
            **({"columns": columns} if columns else {}),
            **({"category_encoding": data.category_encoding} if data.categories else {}),
        }

    def split_batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool
    ) -> BatchSource:
        _, [(constructor, keys)] = components("data", recipe.values["data"], recipe.values["task"])
        data = self.dataset
        arguments = [data.splits[split], data.mean, data.std, device, recipe.values["seed"], training]
        if channels_last:
            arguments.append(channels_last)
        return constructor(*arguments, **keys)

    def untrained_model(self, recipe: Recipe) -> nn.Module:
        (constructor, keys), _ = components("model", recipe.values["model"])
        data, categories = self.dataset, self.dataset.categories
        if not categories:
            return constructor(self.input_shape, self.outputs, **keys)
        counts = {column: len(categories[name]) for column, name in enumerate(data.columns or ()) if name in categories}
        columns = CategoryColumns(self.input_shape[0], counts, data.category_encoding == "one_hot")
        return WithCategories(columns, lambda shape: constructor(shape, self.outputs, **keys))

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        return len(batch), self.outputs

    def initial_model(self, recipe: Recipe) -> tuple[nn.Module, list[str]]:
        """The recipe's model with data-dependent layers initialised, pretrained weights loaded, and layers frozen."""
        model = self.untrained_model(recipe)
        whiten: Any = getattr(model, "whiten", None)
        if whiten is not None:
            if not isinstance(self.dataset.splits["train"].inputs, Tensor):
                raise RequestError(f"this model is set by its data, and {self.name} is streamed", "use another model")
            whiten(self._whitening_images(recipe))
        _, others = components("model", recipe.values["model"])
        remarks = [
            remark for pretrained, keys in others for remark in pretrained(model, load_weights, self.classes, **keys)
        ]
        return model, remarks

    def _whitening_images(self, recipe: Recipe) -> Tensor:
        """Evenly spaced training images, normalised but not augmented."""
        split = self.dataset.splits["train"]
        rows = slice(None, None, max(1, len(split.targets) // _WHITENING_IMAGES))
        few = ArrayData(
            dataclasses.replace(self.dataset, splits={"train": Split(split.inputs[rows], split.targets[rows])})
        )
        source = few.batches(recipe, "train", torch.device("cpu"), training=False)
        return torch.cat([batch.inputs for batch in source.epoch(0)])

    def class_counts(self, split: str) -> dict[str, int] | None:
        counts = torch.bincount(self.dataset.splits[split].targets, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))

    def keyed_examples(self) -> Mapping[str, Iterable[KeyedExample]] | None:
        splits = self.dataset.splits
        answers = {name: [self.classes[target] for target in split.targets.tolist()] for name, split in splits.items()}
        sources: dict[str, Any] = {name: split.inputs for name, split in splits.items()}
        if all(isinstance(source, ImageFiles) for source in sources.values()):
            paths: dict[str, Sequence[str]] = {name: source.paths for name, source in sources.items()}
            return keyed_files(paths, answers)
        arrays = {name: source.pixels if isinstance(source, ImageArray) else source for name, source in sources.items()}
        if not all(isinstance(source, Tensor) for source in arrays.values()):
            return None
        names = self.dataset.names or {name: f"{name} {{}}".format for name in arrays}
        return {name: keyed_rows(held, answers[name], names[name]) for name, held in arrays.items()}

    def statistics(self, recipe: Recipe) -> dict[str, Any]:
        data = self.dataset
        if data.columns is not None:
            missing = data.sources.get("missing", {}).get("values", {})
            rows = data.splits["train"].inputs.numpy()
            return {"columns": column_statistics(rows, data.columns, data.categories, missing)}
        if self.images is None:
            return {"features": self.input_shape[0]}
        mean, std = _statistics_of(recipe, data)
        return {"image": {"shape": list(self.input_shape), "mean": mean.tolist(), "std": std.tolist()}}

    def sheet_images(self, recipe: Recipe, split: str, training: bool, count: int) -> SheetImages:
        if self.images is None:
            return super().sheet_images(recipe, split, training, count)
        few = dataclasses.replace(self.dataset, splits={split: _spread(self.dataset.splits[split], count)}, names=None)
        source = ArrayData(few).batches(recipe, split, torch.device("cpu"), training)
        mean, std = (values[:, None, None] for values in _statistics_of(recipe, self.dataset))
        pixels: list[Tensor] = []
        labels: list[str] = []
        for batch in source.epoch(0):
            pixels += list(batch.inputs * std + mean)  # (C, H, W), in the unit of the data
            labels += _labels_of(batch, self.classes)
        return SheetImages(torch.stack(pixels[:count]).float() / self.dataset.white, labels[:count])

    def objective(self, loss: nn.Module, views: TestViews = "one") -> Classification:
        return Classification(loss, self.classes, views)


def _statistics_of(recipe: Recipe, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (C,), for normalising images."""
    if recipe.values["data"].get("statistics") == "imagenet":
        return imagenet_statistics(dataset.input_shape[0])
    return dataset.mean, dataset.std


def _spread(split: Split, count: int) -> Split:
    """Some examples from all over a split."""
    source: Any = split.inputs
    rows = torch.linspace(0, len(split.targets) - 1, min(count, len(split.targets))).round().long()
    if isinstance(source, Tensor):
        return Split(source[rows], split.targets[rows])
    few: Any = SelectedImages(source, rows)
    return Split(few, split.targets[rows])


def _labels_of(batch: Any, classes: tuple[str, ...]) -> list[str]:
    """The class of each image of a batch; for mixed images both classes."""
    own = [classes[target] for target in batch.targets.tolist()]
    if batch.mixed_targets is None:
        return own
    other = [classes[target] for target in batch.mixed_targets.tolist()]
    return [a if a == b else f"{a} + {b}" for a, b in zip(own, other, strict=True)]


def _with_known_classes(dataset: Dataset, saved: dict[str, Any]) -> Dataset:
    """The data set with the statistics and class indices of a checkpoint; classes are matched by name.

    Raises:
        DlkitError: the data has examples of other classes, or inputs of another shape.
    """
    shape = list(dataset.input_shape)
    known, count = set(saved["classes"]), len(dataset.classes)
    there = [torch.bincount(split.targets, minlength=count) for split in dataset.splits.values()]
    examples = torch.stack(there).sum(0).tolist()
    strange = [name for name, some in zip(dataset.classes, examples, strict=True) if some and name not in known]
    if strange or shape != saved["input_shape"]:
        channels, height, width = [*saved["input_shape"], 0, 0][:3]
        fitting = f"data.size={height} data.channels={channels} reads images as the model takes them"
        hint = "classes must have the same names; give the data that the run was trained on"
        raise DlkitError(
            f"{dataset.name} has inputs of {tuple(shape)} and the classes {join_names(dataset.classes)}; the model was "
            f"trained on inputs of {tuple(saved['input_shape'])} and the classes {join_names(saved['classes'])}",
            fitting if not strange and height and height == width else hint,
        )
    classes = tuple(saved["classes"])
    splits = dataset.splits
    if dataset.classes != classes:
        index_of = {name: index for index, name in enumerate(classes)}
        index = torch.tensor([index_of.get(name, -1) for name in dataset.classes])  # -1: no example has this class
        splits = {name: Split(split.inputs, index[split.targets]) for name, split in splits.items()}
    dataset = with_values_up_to(saved.get("white", dataset.white), dataclasses.replace(dataset, splits=splits))
    mean, std = (torch.tensor(saved[key], dtype=dataset.mean.dtype) for key in ("mean", "std"))
    return dataclasses.replace(dataset, classes=classes, mean=mean, std=std)
