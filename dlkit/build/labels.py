"""The classes of a pre-trained head and those of the data: they go by name, never by place."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

from dlkit.errors import RequestError
from dlkit.models.checkpoints import HubModel

_GENERIC = re.compile(r"LABEL_\d+")  # what transformers calls classes that nobody named
# Names of one class, in what benchmarks and the models for them write.
_SAME = {"neg": "negative", "pos": "positive"}


def with_classes(
    hub: HubModel, classes: Sequence[str], labels: Sequence[str] | None, new_head: bool
) -> tuple[HubModel, list[str]]:
    """The weights with the rows of their head in the order of the data's classes, and remarks for the user.

    Args:
        hub: weights to begin with.
        classes: of the data.
        labels: what the rows of the head stand for, where the user says so.
        new_head: whether the head starts anew.

    Raises:
        RequestError: the names differ, or the head does not tell classes apart.
    """
    if hub.outputs is None:
        if labels is not None:
            raise RequestError(f"model.labels is set, but {hub.path} has no classes", "leave model.labels out")
        return hub, []
    if new_head or (len(classes) != hub.outputs and labels is None):
        why = "model.new_head is set" if new_head else f"it tells {_count(hub.outputs)}, the data has {len(classes)}"
        return without_head(hub), [f"{hub.path}: {why}: the last layer starts anew"]
    if hub.problem in ("regression", "multi_label_classification"):
        raise RequestError(
            f"{hub.path} has problem_type = {hub.problem}: its outputs are no classes of which one is right",
            "model.new_head=true begins a new last layer",
        )
    names = tuple(labels) if labels is not None else hub.labels
    order = _order(names, classes)
    if order is not None:
        return _permuted(hub, order, classes), []
    if labels is None and all(_GENERIC.fullmatch(name) for name in names):
        said = ", ".join(f"{name} as {of}" for name, of in zip(names, classes, strict=True))
        remark = f"{hub.path} does not name its classes: {said}; model.labels=[...] says otherwise"
        return dataclasses.replace(hub, labels=tuple(classes)), [remark]
    whose = "model.labels says" if labels is not None else f"{hub.path} has"
    raise RequestError(
        f"{whose} the classes {', '.join(names)}; the data has {', '.join(classes)}",
        f"say which output is which, as model.labels='{_as_list(classes)}' in the order of the {hub.outputs} outputs, "
        "or begin a new last layer: model.new_head=true",
    )


def without_head(hub: HubModel) -> HubModel:
    """The weights without the last layer of their classifier."""
    kept = {name: value for name, value in hub.tensors.items() if not name.startswith("head.classifier.")}
    return dataclasses.replace(hub, tensors=kept, outputs=None, labels=())


def _permuted(hub: HubModel, order: list[int], classes: Sequence[str]) -> HubModel:
    rows = {f"head.classifier.{kind}": hub.tensors[f"head.classifier.{kind}"][order] for kind in ("weight", "bias")}
    return dataclasses.replace(hub, tensors=hub.tensors | rows, labels=tuple(classes))


def _order(names: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """The row of each class, by the first way of comparing names that tells them apart and finds all; else None."""
    for plain in (str, _plain):
        have, want = [plain(name) for name in names], [plain(name) for name in classes]
        if Counter(have) == Counter(want) and len(set(have)) == len(have):
            return [have.index(name) for name in want]
    return None


def _plain(name: str) -> str:
    """A name without capital letters, and with one kind of space: NOT ENTAILMENT, not-entailment, not_entailment."""
    folded = re.sub(r"[\s_-]+", "_", name.strip().casefold())
    return _SAME.get(folded, folded)


def _count(outputs: int) -> str:
    return "one number" if outputs == 1 else f"{outputs} classes apart"


def _as_list(classes: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in classes) + "]"
