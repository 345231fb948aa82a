"""The classifier head of a pretrained BERT, with its rows in the order of the data's classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dlkit.errors import RequestError
from dlkit.pretrained.head_classes import head_rows, starts_anew
from dlkit.pretrained.weights import LanguageWeights


def with_classes(
    weights: LanguageWeights, classes: Sequence[str], labels: Sequence[str] | None, new_head: bool
) -> tuple[LanguageWeights, list[str]]:
    """The weights with the rows of the head in the order of the data's classes, and remarks for the user.

    Args:
        weights: the pretrained weights.
        classes: of the data.
        labels: the class of each row as given by the user, or None.
        new_head: whether to reinitialise the head.

    Raises:
        RequestError: the names differ, or the head is not for single-label classification.
    """
    if weights.outputs is None:
        if labels is not None:
            raise RequestError(f"model.labels is set, but {weights.path} has no classes", "leave model.labels out")
        return weights, []
    independent = weights.problem in ("regression", "multi_label_classification")
    if independent and not starts_anew(weights.outputs, classes, labels, new_head):
        raise RequestError(
            f"{weights.path} has problem_type = {weights.problem}: its outputs are not classes of which one is right",
            "model.new_head=true begins a new last layer",
        )
    rows, remarks = head_rows(weights.path, weights.outputs, weights.classes, classes, labels, new_head)
    if rows is None:
        return without_head(weights), remarks
    head = {f"head.classifier.{kind}": weights.tensors[f"head.classifier.{kind}"][rows] for kind in ("weight", "bias")}
    return dataclasses.replace(weights, tensors=weights.tensors | head, classes=tuple(classes)), remarks


def without_head(weights: LanguageWeights) -> LanguageWeights:
    """The weights without the last layer of their classifier."""
    kept = {name: value for name, value in weights.tensors.items() if not name.startswith("head.classifier.")}
    return dataclasses.replace(weights, tensors=kept, outputs=None, classes=())
