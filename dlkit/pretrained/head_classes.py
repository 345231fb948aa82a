"""The classes of a pre-trained head and those of the data: they go by name, never by place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dlkit.errors import RequestError

_GENERIC = re.compile(r"LABEL_\d+")  # what transformers calls classes that nobody named
# Names of one class, in what benchmarks and the models for them write.
_SAME = {"neg": "negative", "pos": "positive"}
_SHOWN = 20


def head_rows(
    path: Path,
    outputs: int,
    names: Sequence[str],
    classes: Sequence[str],
    labels: Sequence[str] | None,
    new_head: bool,
) -> tuple[list[int] | None, list[str]]:
    """The row of a head that stands for each class of the data, or None where it starts anew; remarks for the user.

    Args:
        path: of the weights, for messages.
        outputs: rows of the head.
        names: of the classes that they stand for; none where the weights do not say.
        classes: of the data.
        labels: what the rows stand for, where the user says so.
        new_head: whether the head starts anew.

    Raises:
        RequestError: the names differ, or `labels` are not as many as the rows.
    """
    if starts_anew(outputs, classes, labels, new_head):
        tells = "one number" if outputs == 1 else f"{outputs} classes apart"
        why = "model.new_head is set" if new_head else f"it tells {tells}, the data has {len(classes)}"
        return None, [f"{path}: {why}: the last layer starts anew"]
    if labels is not None and len(labels) != outputs:
        raise RequestError(
            f"model.labels has {len(labels)} names, {path} has {outputs} outputs", "name each output, in their order"
        )
    said = names if labels is None else labels
    order = _order(said, classes)
    if order is not None:
        return order, []
    if labels is None and all(_GENERIC.fullmatch(name) for name in names):
        pairs = zip(names or map(str, range(outputs)), classes, strict=True)
        by_place = _listed([f"{name} as {of}" for name, of in pairs])
        remark = f"{path} does not name its classes: {by_place}; model.labels=[...] says otherwise"
        return list(range(outputs)), [remark]
    whose = f"{path} has" if labels is None else "model.labels says"
    # those that the other lacks come first
    theirs, ours = sorted(said, key=lambda name: name in classes), sorted(classes, key=lambda name: name in said)
    if len(said) <= _SHOWN >= len(classes):
        theirs, ours = list(said), list(classes)
    example = ", ".join(f'"{name}"' for name in classes[:_SHOWN]) + (", ..." if len(classes) > _SHOWN else "")
    raise RequestError(
        f"{whose} the classes {_listed(theirs)}; the data has {_listed(ours)}",
        f"say which output is which, as model.labels='[{example}]' in the order of the {outputs} outputs, "
        "or begin a new last layer: model.new_head=true",
    )


def starts_anew(outputs: int, classes: Sequence[str], labels: Sequence[str] | None, new_head: bool) -> bool:
    """Whether a head of so many outputs is not taken."""
    return new_head or (len(classes) != outputs and labels is None)


def _order(names: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """The row of each class, by the first way of comparing names that tells them apart and finds all; else None."""
    for plain in (str, _plain):
        have, want = [plain(name) for name in names], [plain(name) for name in classes]
        if Counter(have) == Counter(want) and len(set(have)) == len(have):
            place = {name: row for row, name in enumerate(have)}
            return [place[name] for name in want]
    return None


def _plain(name: str) -> str:
    """A name without capital letters, and with one kind of space: NOT ENTAILMENT, not-entailment, not_entailment."""
    folded = re.sub(r"[\s_-]+", "_", name.strip().casefold())
    return _SAME.get(folded, folded)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
