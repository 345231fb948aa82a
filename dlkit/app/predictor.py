"""A trained model and the reader of its inputs, ready to predict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlkit.app.evaluation import ready_model
from dlkit.app.prediction import Prediction
from dlkit.app.shared_inputs import Answered, answered_inputs
from dlkit.assemble import build_task
from dlkit.data.batch import Batch
from dlkit.pretrained.run import read_checkpoint
from dlkit.recipe import Recipe
from dlkit.tasks.new_inputs import open_new_inputs
from dlkit.training.precision import autocast
from dlkit.training.settings import TestViews
from dlkit.user_code import require_unchanged


class Predictor:
    """A model in evaluation mode that reads inputs as its training data was read.

    Args:
        recipe: of a run.
        checkpoint: one in it.
        device: for the model.
        top: how many classes of each input are named.
        threshold: least probability of a label.
        batch_size: inputs a batch; None for the recipe's.
        views: of each image, to average over; None for the recipe's.

    Raises:
        DlkitError: the checkpoint is damaged, or not of the recipe's model.
    """

    def __init__(
        self,
        recipe: Recipe,
        checkpoint: Path,
        device: torch.device,
        top: int = 5,
        threshold: float = 0.0,
        batch_size: int | None = None,
        views: TestViews | None = None,
    ) -> None:
        self.device, self.top, self.threshold = device, top, threshold
        saved = read_checkpoint(checkpoint)
        require_unchanged(recipe.own_code, saved.description.get("code"))
        self.inputs = open_new_inputs(recipe, saved.description, batch_size)
        self.trained = ready_model(recipe, saved, self.inputs.data, device)
        self.trained.model.eval()
        self.task: Any = build_task(recipe, self.inputs.data, views)
        self.classes = self.inputs.data.classes

    def predictions(self, inputs: Iterable[Any]) -> Iterator[Prediction]:
        """The prediction of each input, in their order; None among them says that the next one is not there yet."""
        for item, best, error in self.each(inputs, lambda batch: self._best(self.answers(batch))):
            yield self._failed(item, error) if error is not None else self._named(item, *best)

    def each(self, inputs: Iterable[Any], answer: Callable[[Batch], Iterable[Any]]) -> Iterator[Answered]:
        """Each input with what a function of its batch gives for it; see `answered_inputs`."""
        last = self.trained.settings.channels_last == "on"
        return answered_inputs(self.inputs, inputs, answer, self.device, last)

    def answers(self, batch: Batch) -> Tensor:
        """The probabilities of the classes, (N, K), or the numbers that a regression predicts, (N,)."""
        with torch.inference_mode(), autocast(self.trained.settings.precision, self.device):
            return self.task.answers(self.trained.model, batch)

    def _best(self, answers: Tensor) -> Iterator[tuple[list[float], list[int]]]:
        """The largest probabilities of each example in descending order, and their classes; of numbers no classes."""
        if answers.dim() == 1:
            return ((number, []) for number in answers[:, None].tolist())
        best = answers.topk(min(self.top, answers.shape[1]))  # (N, top)
        return zip(best.values.tolist(), best.indices.tolist(), strict=True)

    def _named(self, item: Any, numbers: list[float], classes: list[int]) -> Prediction:
        if not all(math.isfinite(number) for number in numbers):
            return self._failed(item, "the answer of the model is not a finite number")
        if not classes:
            return Prediction(item, value=numbers[0])
        top = tuple(zip((self.classes[index] for index in classes), numbers, strict=True))
        label = top[0][0] if numbers[0] >= self.threshold else None
        return Prediction(item, label, numbers[0], top)

    def _failed(self, item: Any, why: str) -> Prediction:
        return Prediction(item, error=why, value=None if self.classes else math.nan)
