"""The head of pre-trained weights of a BERT, with its rows in the order of the data's classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlkit.errors import RequestError
from dlkit.pretrained.head_classes import head_rows, starts_anew
from dlkit.pretrained.weights import LanguageWeights


def with_classes(
    weights: LanguageWeights, classes: Sequence[str], labels: Sequence[str] | None, new_head: bool
) -> tuple[LanguageWeights, list[str]]:
    """The weights with the rows of their head in the order of the data's classes, and remarks for the user.

    Args:
        weights: to begin with.
        classes: of the data.
        labels: what the rows of the head stand for, where the user says so.
        new_head: whether the head starts anew.

    Raises:
        RequestError: the names differ, or the head does not tell classes apart.
    """
    if weights.outputs is None:
        if labels is not None:
            raise RequestError(f"model.labels is set, but {weights.path} has no classes", "leave model.labels out")
        return weights, []
    independent = weights.problem in ("regression", "multi_label_classification")
    if independent and not starts_anew(weights.outputs, classes, labels, new_head):
        raise RequestError(
            f"{weights.path} has problem_type = {weights.problem}: its outputs are no classes of which one is right",
            "model.new_head=true begins a new last layer",
        )
    order, remarks = head_rows(weights.path, weights.outputs, weights.classes, classes, labels, new_head)
    if order is None:
        return without_head(weights), remarks
    rows = {f"head.classifier.{kind}": weights.tensors[f"head.classifier.{kind}"][order] for kind in ("weight", "bias")}
    return dataclasses.replace(weights, tensors=weights.tensors | rows, classes=tuple(classes)), remarks


def without_head(weights: LanguageWeights) -> LanguageWeights:
    """The weights without the last layer of their classifier."""
    kept = {name: value for name, value in weights.tensors.items() if not name.startswith("head.classifier.")}
    return dataclasses.replace(weights, tensors=kept, outputs=None, classes=())
