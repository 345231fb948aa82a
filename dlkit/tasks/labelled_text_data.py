"""Texts and pairs of texts with a label: a class, a number, or the correct one of several candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlkit.data.examination.duplicates import KeyedExample, keyed_texts
from dlkit.data.examination.statistics import length_statistics
from dlkit.data.known import Known
from dlkit.data.splits import name_unsplit
from dlkit.data.text.labelled import Answer, LabelledTexts
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.returned_texts import labelled_of
from dlkit.data.text.sentences import running_text
from dlkit.errors import DlkitError, RequestError
from dlkit.losses import SquaredError
from dlkit.pretrained.head_classes import matching_rows
from dlkit.pretrained.huggingface import LanguageStart
from dlkit.pretrained.language_head import with_classes, without_head
from dlkit.pretrained.weights import LanguageWeights
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.tasks.task_data import read_component
from dlkit.tasks.text_classification import MultipleChoice, Regression, TextClassification
from dlkit.tasks.text_data import TextData
from dlkit.training.interfaces import Task
from dlkit.training.settings import TestViews


class LabelledTextData(TextData):
    """For encoders with a head for whole sequences.

    Args:
        recipe: names the data.
        saved: the description in a checkpoint; None to train from scratch.
        data: used in place of the recipe's.

    Raises:
        DlkitError: the classes are not the checkpoint's.
    """

    same_shape = False  # batches are padded to the longest of their texts

    def __init__(self, recipe: Recipe, saved: dict[str, Any] | None = None, data: LabelledTexts | None = None) -> None:
        known = None if saved is None else Known(tuple(saved["classes"]))
        found: Any = data or read_component(recipe, known)
        self._own_data = isinstance(found, dict)  # returned by a function in user code
        if self._own_data:
            found = labelled_of(recipe.values["data"]["name"], found, known)
        self.data: LabelledTexts = found
        training = self.data.splits.get("train")  # None if the data is only for evaluation
        super().__init__(recipe, [running_text(training)] if training else [], saved)
        self.name, self.classes = self.data.name, self.data.classes
        self.outputs = len(self.classes) if self.data.answer == "class" else 1
        if saved is None and self.weights is not None:
            self._take_head(self.start, self.weights)
        self._rows: list[int] | None = None  # index of each class among a checkpoint's outputs, if these differ
        if saved is not None and saved["classes"] != list(self.classes):
            self._rows = matching_rows(saved["classes"], self.classes) if self.outputs != 1 else None
            if self._rows is None:
                raise DlkitError(
                    f"{self.name} has the classes {', '.join(self.classes)}; the model knows "
                    f"{', '.join(saved['classes']) or 'numbers'}",
                    "classes must have the same names; give the data that the run was trained on",
                )
        self._cut: dict[str, float] = {}  # split -> share of its tokens that did not fit

    @classmethod
    def described(cls, recipe: Recipe, saved: dict[str, Any]) -> LabelledTextData:
        """The data as described by a checkpoint, with classes or numbers as labels, without examples."""
        classes = tuple(saved["classes"])
        answer: Answer = "class" if classes else "number"
        return cls(recipe, saved, LabelledTexts("new inputs", {}, classes, answer, ("accuracy",), {}))

    @property
    def sizes(self) -> dict[str, int]:
        return {split: len(examples.targets) for split, examples in self.data.splits.items()}

    def targets(self, split: str) -> Tensor:
        return torch.as_tensor(self.data.splits[split].targets)

    def take_whole(self) -> None:
        self.data = dataclasses.replace(self.data, splits=name_unsplit(self.data.splits))

    def arranged(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._rows is None:
            return weights
        head = {name: weights[name][self._rows] for name in weights if name.startswith("head.classifier.")}
        return weights | head

    def _take_head(self, start: LanguageStart, weights: LanguageWeights) -> None:
        """Reorder the rows of a pretrained head to the data's classes, and use the pooling that it was trained with."""
        if self.data.answer == "class":
            self.weights, self.remarks = with_classes(weights, self.classes, start.labels, start.new_head)
        elif weights.outputs is not None and (start.new_head or weights.outputs != 1):
            self.weights, self.remarks = without_head(weights), [f"{weights.path}: the last layer starts anew"]
        pooling = weights.architecture.get("pooling", "first")
        if self.weights is not None and self.weights.outputs is not None and self.architecture["pooling"] != pooling:
            self.remarks.append(f"model.pooling is {pooling}, as the head of {weights.path} was trained")
            self.architecture["pooling"] = pooling

    def describe(self) -> dict[str, Any]:
        described = {**super().describe(), "classes": list(self.classes)}
        if self._own_data:  # the recipe does not say whether an example is a pair
            described["pairs"] = any(examples.second for examples in self.data.splits.values())
        return described

    @property
    def sources(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return {**self.data.sources, "tokenizer": self.tokenizer_source, "share_of_tokens_cut": self._cut}

    def split_batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool
    ) -> SequenceBatches:
        _, [(sequences, keys)] = components("data", recipe.values["data"], recipe.values["task"])
        examples = self.data.splits[split]
        found: SequenceBatches = sequences(examples, self.tokenizer, device, recipe.values["seed"], training, **keys)
        self._cut[split] = found.encoded.lost
        return found

    def class_counts(self, split: str) -> dict[str, int] | None:
        if self.data.answer != "class":
            return None
        counts = np.bincount(self.data.splits[split].targets, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))

    def keyed_examples(self) -> Mapping[str, Iterable[KeyedExample]] | None:
        """None for examples with candidates, whose texts are repeated for each candidate."""
        splits = self.data.splits
        if any(examples.counts is not None for examples in splits.values()):
            return None
        return {name: keyed_texts(held.first, held.second, held.targets.tolist()) for name, held in splits.items()}

    def statistics(self, recipe: Recipe) -> dict[str, Any]:
        tokens: dict[str, Any] = {}
        unknown = self.tokenizer.special("[UNK]")
        for split in self.splits:
            encoded = self.split_batches(recipe, split, torch.device("cpu"), False, False).encoded
            tokens[split] = {
                "tokens": len(encoded.token_ids), **length_statistics(np.diff(encoded.starts)),
                "share_cut": round(encoded.lost, 5),
                "share_unknown": round(float((encoded.token_ids == unknown).mean()), 5) if unknown is not None else 0.0,
            }  # fmt: skip
        return {"tokens": tokens, "vocabulary": self.vocabulary, "context": recipe.values["data"]["context"]}

    def objective(self, loss: nn.Module, views: TestViews = "one") -> Task:
        """The objective. Raises RequestError if the loss does not suit the data's labels."""
        if self.data.answer == "number":
            if not isinstance(loss, SquaredError):
                raise RequestError(f"{self.name} asks for numbers, not classes", "loss.name=squared_error")
            return Regression(loss)
        if isinstance(loss, SquaredError):
            raise RequestError(f"{self.name} asks for classes, not numbers", "loss.name=cross_entropy")
        if self.data.answer == "candidate":
            return MultipleChoice(loss, self.classes, self.data.metrics)
        return TextClassification(loss, self.classes, self.data.metrics)
