"""Match the outputs of a pretrained head to the data's classes by name, never by position."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dlkit.errors import RequestError

_GENERIC = re.compile(r"LABEL_\d+")  # transformers' names for unnamed classes
# Alternative spellings of a class, in benchmarks and in models for them.
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
    """The row of a pretrained head for each class of the data, or None if the head is reinitialised; and remarks.

    Args:
        path: of the weights, for messages.
        outputs: rows of the head.
        names: class name of each row; empty if the weights do not give them.
        classes: of the data.
        labels: the class of each row as given by the user, or None.
        new_head: whether to reinitialise the head.

    Raises:
        RequestError: the names differ, or there are more or fewer `labels` than rows.
    """
    if starts_anew(outputs, classes, labels, new_head):
        outputs_text = "one output" if outputs == 1 else f"{outputs} outputs"
        why = "model.new_head is set" if new_head else f"it has {outputs_text}, the data has {len(classes)} classes"
        return None, [f"{path}: {why}: the last layer starts anew"]
    if labels is not None and len(labels) != outputs:
        raise RequestError(
            f"model.labels has {len(labels)} names, {path} has {outputs} outputs", "name each output, in their order"
        )
    given = names if labels is None else labels
    rows = matching_rows(given, classes)
    if rows is not None:
        return rows, []
    if labels is None and all(_GENERIC.fullmatch(name) for name in names):
        pairs = zip(names or map(str, range(outputs)), classes, strict=True)
        by_position = _listed([f"{name} as {of}" for name, of in pairs])
        remark = f"{path} does not name its classes: {by_position}; model.labels=[...] says otherwise"
        return list(range(outputs)), [remark]
    whose = f"{path} has" if labels is None else "model.labels says"
    # those that the other lacks come first
    theirs, ours = sorted(given, key=lambda name: name in classes), sorted(classes, key=lambda name: name in given)
    if len(given) <= _SHOWN >= len(classes):
        theirs, ours = list(given), list(classes)
    example = ", ".join(f'"{name}"' for name in classes[:_SHOWN]) + (", ..." if len(classes) > _SHOWN else "")
    raise RequestError(
        f"{whose} the classes {_listed(theirs)}; the data has {_listed(ours)}",
        f"say which output is which, as model.labels='[{example}]' in the order of the {outputs} outputs, "
        "or begin a new last layer: model.new_head=true",
    )


def starts_anew(outputs: int, classes: Sequence[str], labels: Sequence[str] | None, new_head: bool) -> bool:
    """Whether a pretrained head with this many outputs is discarded."""
    return new_head or (len(classes) != outputs and labels is None)


def matching_rows(names: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """The index in `names` of each class, by exact or else by normalised name; None unless each has its own."""
    for plain in (str, _plain):
        have, want = [plain(name) for name in names], [plain(name) for name in classes]
        if Counter(have) == Counter(want) and len(set(have)) == len(have):
            row_of = {name: row for row, name in enumerate(have)}
            return [row_of[name] for name in want]
    return None


def _plain(name: str) -> str:
    """A name in lower case, with _ for spaces and hyphens: NOT ENTAILMENT and not-entailment become not_entailment."""
    folded = re.sub(r"[\s_-]+", "_", name.strip().casefold())
    return _SAME.get(folded, folded)


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
