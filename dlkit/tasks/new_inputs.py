"""Unlabelled inputs for a trained model, as read by `dlkit predict`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from dlkit.catalog import TASKS, import_object
from dlkit.data.batch import Batch
from dlkit.data.unread_input import UnreadInput
from dlkit.lines import batched_as_they_come
from dlkit.recipe import Recipe
from dlkit.tasks.task_data import TaskData


@dataclass
class NewBatch:
    """Inputs in their original order.

    Args:
        inputs: of any kind: file names, texts, rows.
        batches: of the readable inputs, each with the positions of its examples in `inputs`.
        errors: position in `inputs` -> why that input could not be read.
    """

    inputs: list[Any]
    batches: list[tuple[list[int], Batch]]
    errors: dict[int, str] = field(default_factory=dict[int, str])


class NewInputs(ABC):
    """Reads inputs for a trained model as its training data was read.

    A task's line in the catalog names the subclass, which is constructed from the recipe of a run, the `description` in
    its checkpoint and the batch size. The training data itself is not needed.
    """

    data: TaskData  # without examples, for the model and the objective
    batch_size: int
    pool: int = 1  # batches that are read together

    def require(self, item: Any) -> None:  # noqa: B027 - most need nothing
        """Raise RequestError if an input lacks what the run needs. Called with the first input."""

    @abstractmethod
    def batches(self, inputs: Iterable[Any], device: torch.device, channels_last: bool) -> Iterator[NewBatch]:
        """Batches on the device. None among the inputs means that the next input has not arrived yet."""


def open_new_inputs(recipe: Recipe, saved: dict[str, Any], batch_size: int | None) -> NewInputs:
    """The reader of new inputs for a run of a task that has one.

    Args:
        recipe: of the run.
        saved: the description in its checkpoint.
        batch_size: None for the recipe's.
    """
    reader: Any = import_object(TASKS[recipe.values["task"]].new_inputs)
    given = batch_size or recipe.values["data"].get("batch_size")
    return reader(recipe, saved, given if isinstance(given, int) else 128)


def read_in_batches(inputs: Iterable[Any], size: int) -> Iterator[tuple[list[Any], list[int], dict[int, str]]]:
    """Inputs as they arrive, the positions of the readable ones, and the errors of the others."""
    for items in batched_as_they_come(inputs, size):
        if items:
            unread = {i: item.error for i, item in enumerate(items) if isinstance(item, UnreadInput)}
            shown = [item.shown if isinstance(item, UnreadInput) else item for item in items]
            yield shown, [i for i in range(len(items)) if i not in unread], unread
