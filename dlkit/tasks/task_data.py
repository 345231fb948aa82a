"""The common interface of the data of all tasks, so that no caller needs to know the task."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlkit.catalog import TASKS, import_object
from dlkit.data.dataset import Dataset
from dlkit.data.examination.contact_sheet import SheetImages
from dlkit.data.examination.duplicates import KeyedExample
from dlkit.data.known import Known
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.tasks.same_data import require_same
from dlkit.training.interfaces import BatchSource, Task
from dlkit.training.settings import TestViews

_OWN_FILE = {"val": "validation_path", "test": "test_path"}  # split -> key of its separate source, if any


class TaskData(ABC):
    """The data of a recipe's task, and what depends on it: the model's first and last layer, and the objective.

    A task's line in the catalog names a function `(recipe, saved)` that returns one. `saved` is the `description` in a
    checkpoint that the data must agree with, or None to train from scratch.
    """

    name: str
    sources: dict[str, Any]  # where the data came from; for environment.json
    classes: tuple[str, ...] = ()
    columns: dict[str, str] | None = None  # of a table: feature name -> type
    unit = "rows"  # of the size of a split
    example_unit = "rows"  # what is compared to find duplicates
    same_shape = True  # whether all training batches have the same shape, so that a model is compiled once

    def __init__(self) -> None:
        self.remarks: list[str] = []  # for the user: pretrained weights that were changed or left out
        self.left_out: dict[str, str] = {}  # metrics that are undefined here: name -> why

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Split -> its number of rows or bytes."""

    @abstractmethod
    def take_whole(self) -> None:
        """Hold nothing out: the data becomes one split, "all", unless it has predefined splits."""

    @abstractmethod
    def untrained_model(self, recipe: Recipe) -> nn.Module:
        """The recipe's model with random weights."""

    @abstractmethod
    def initial_model(self, recipe: Recipe) -> tuple[nn.Module, list[str]]:
        """The recipe's model with the weights that training starts from, and remarks about pretrained ones."""

    def arranged(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's weights, with the outputs permuted to the order of this data's classes, matched by name."""
        return weights

    @abstractmethod
    def output_shape(self, batch: Any) -> tuple[int, ...]:
        """The shape that a model must return for a batch, to check models from user code."""

    @abstractmethod
    def objective(self, loss: nn.Module, views: TestViews = "one") -> Task:
        """The objective and its metrics; evaluation averages over `views` of each image."""

    @abstractmethod
    def split_batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool
    ) -> BatchSource:
        """The batches of a split that exists."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a checkpoint stores so that other data can be read in the same way; JSON values."""

    @property
    def images(self) -> Dataset | None:
        """The data as images, or None if it has none."""
        return None

    def targets(self, split: str) -> Tensor | None:
        """The target of each example of a split, (N,); None if targets derive from the inputs, as for tokens."""
        return None

    def predicted_tokens(self, split: str) -> NDArray[np.integer[Any]] | None:
        """The token ids of a split that a language model is to predict; None if the data is not running text."""
        return None

    def class_counts(self, split: str) -> dict[str, int] | None:
        """The number of examples of each class in a split; None if there are no classes."""
        return None

    def keyed_examples(self) -> Mapping[str, Iterable[KeyedExample]] | None:
        """The examples of each split by content, to find duplicates; None if that is too expensive."""
        return None

    def statistics(self, recipe: Recipe) -> dict[str, Any]:
        """Fields of the record of `dlkit data` for this kind of data: `image`, `columns`, `tokens`."""
        return {}

    def sheet_images(self, recipe: Recipe, split: str, training: bool, count: int) -> SheetImages:
        """Some images of a split as the model's inputs in training, with augmentation, or in evaluation."""
        raise RequestError(f"{self.name} holds no images to draw", "leave `png` out")

    # ------------------------------------------------------------ the same for every task

    @property
    def splits(self) -> Sequence[str]:
        return list(self.sizes)

    def batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool = False
    ) -> BatchSource:
        """The batches of a split. Raises RequestError if there is no such split."""
        self.require_split(split)
        return self.split_batches(recipe, split, device, training, channels_last)

    def require_split(self, split: str) -> None:
        """Raise RequestError if the data has no such split."""
        if split not in self.splits:
            raise RequestError(f"{self.name} has no split {split!r}", f"its splits: {', '.join(self.splits)}")

    @property
    def evaluated_splits(self) -> list[str]:
        """The splits to evaluate on, first the one monitored during training: validation data if there is any."""
        return [name for name in ("val", "test") if name in self.splits]

    @property
    def default_split(self) -> str:
        """The split on which a trained model is evaluated: test, else validation, else all of other data."""
        return next((name for name in ("test", "val", "all") if name in self.splits), "val")

    def extent(self, split: str) -> dict[str, Any]:
        """Fields of a record: `path`; its `rows` or `bytes`, "all" or "90 of 450"; `left_out`, `remarks`."""
        path, sizes = self._file(split), self.sizes
        total = sum(size for name, size in sizes.items() if self._file(name) == path)
        more = {key: self.sources[key] for key in ("left_out", "remarks") if self.sources.get(key)}
        return {"path": path, self.unit: "all" if sizes[split] == total else f"{sizes[split]} of {total}", **more}

    def _file(self, split: str) -> str | None:
        return self.sources.get(_OWN_FILE.get(split, ""), self.sources.get("path"))

    @property
    def description(self) -> dict[str, Any]:
        """What a checkpoint saves: `describe`, and an identification of the content, checked when a run resumes."""
        content = {key: self.sources[key] for key in ("rows", "sha256") if key in self.sources}
        return {**self.describe(), "content": content}

    def require_same(self, saved: Mapping[str, Any]) -> None:
        """Raise DlkitError unless this is exactly the data that a checkpoint was trained on."""
        require_same(self.description, saved, tabular=bool(self.columns))


def load_data(recipe: Recipe, saved: dict[str, Any] | None = None, whole: bool = False) -> TaskData:
    """The data of a recipe's task.

    Args:
        recipe: names task and data.
        saved: the description in a checkpoint: columns and classes are matched by name, inputs scaled by its
            statistics.
        whole: whether to hold nothing out; see `TaskData.take_whole`.

    Raises:
        DlkitError: the data is missing or damaged, or its classes, columns or shapes are not the checkpoint's.
    """
    read: Callable[[Recipe, dict[str, Any] | None], TaskData] = import_object(TASKS[recipe.values["task"]].target)
    data = read(recipe, saved)
    if whole:
        data.take_whole()
    return data


def read_component(recipe: Recipe, known: Known | None, answer: Literal["class", "number"] = "class") -> Any:
    """The result of the recipe's `data` component.

    Args:
        recipe: names the component.
        known: a model's classes and columns, for components that match them by name.
        answer: the kind of label, for components that read both kinds.
    """
    (reader, keys), _ = components("data", recipe.values["data"], recipe.values["task"])
    takes = inspect.signature(reader).parameters
    if "answer" in takes:
        return reader(known, answer, **keys)
    return reader(**keys) if known is None or "known" not in takes else reader(known, **keys)
