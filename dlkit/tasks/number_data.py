"""The data of tabular-regression: rows of numbers and categories, each with a numeric target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.data.dataset import Dataset, Split, mean_and_deviation, standardize
from dlkit.data.examination.duplicates import KeyedExample, keyed_rows
from dlkit.errors import DlkitError, RequestError
from dlkit.losses import CrossEntropy
from dlkit.recipe import Recipe
from dlkit.tasks.array_data import ArrayData, known_rows
from dlkit.tasks.tabular_regression import TabularRegression
from dlkit.tasks.task_data import read_component
from dlkit.training.interfaces import BatchSource
from dlkit.training.settings import TestViews


def number_data(recipe: Recipe, saved: dict[str, Any] | None) -> NumberData:
    """The data of tabular-regression; a checkpoint's columns are matched by name."""
    dataset: Dataset = read_component(recipe, known_rows(recipe, saved), "number")
    if saved is None:
        training = dataset.splits.get("train") or next(iter(dataset.splits.values()))
        mean, std = (float(value) for value in mean_and_deviation(training.targets.double()[:, None]))
        return NumberData(dataset, mean, std)
    if list(dataset.input_shape) != saved["input_shape"]:
        raise DlkitError(
            f"{dataset.name} has rows of {dataset.input_shape[0]} features; the model was trained on rows of "
            f"{saved['input_shape'][0]}",
            "give data with the columns that the run was trained on",
        )
    mean, std = (torch.tensor(saved[key], dtype=torch.float64) for key in ("mean", "std"))
    dataset = dataclasses.replace(dataset, mean=mean, std=std)
    return NumberData(dataset, saved["target"]["mean"], saved["target"]["std"])


class NumberData(ArrayData):
    """Rows of features (N, F) float64 with targets (N,) float64.

    Args:
        dataset: the rows, without classes.
        mean: of the training targets.
        std: standard deviation of the training targets.
    """

    def __init__(self, dataset: Dataset, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__(dataset)
        self.mean, self.std, self.outputs = mean, std, 1

    @classmethod
    def described(cls, saved: dict[str, Any]) -> NumberData:
        dataset = ArrayData.described(saved).dataset
        return cls(dataset, saved["target"]["mean"], saved["target"]["std"])

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "target": {"mean": self.mean, "std": self.std}}

    def split_batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool
    ) -> BatchSource:
        rows = self.dataset.splits[split]
        scale = (torch.tensor([value], dtype=torch.float64) for value in (self.mean, self.std))
        targets = standardize(rows.targets.double()[:, None], *scale)[:, 0]  # (N,) float32
        scaled = dataclasses.replace(self.dataset, splits={split: Split(rows.inputs, targets)}, names=None)
        return ArrayData(scaled).split_batches(recipe, split, device, training, channels_last)

    def class_counts(self, split: str) -> dict[str, int] | None:
        return None

    def keyed_examples(self) -> Mapping[str, Iterable[KeyedExample]] | None:
        splits = self.dataset.splits
        names = self.dataset.names or {name: f"{name} {{}}".format for name in splits}
        return {name: keyed_rows(held.inputs, held.targets.tolist(), names[name]) for name, held in splits.items()}

    def statistics(self, recipe: Recipe) -> dict[str, Any]:
        y: Tensor = self.dataset.splits["train"].targets
        target = {"min": float(y.min()), "mean": self.mean, "median": float(y.median()), "max": float(y.max())}
        return {**super().statistics(recipe), "target": {**target, "std": self.std}}

    def objective(self, loss: nn.Module, views: TestViews = "one") -> TabularRegression:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The objective. Raises RequestError if the loss is for classification."""
        if isinstance(loss, CrossEntropy):
            raise RequestError(
                "cross_entropy is for classes, and the label here is a number", "loss.name=squared_error"
            )
        return TabularRegression(loss, self.mean, self.std)
