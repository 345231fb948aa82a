"""Texts that a function of the user's own returned, as a corpus or a labelled data set: plain `str`s in splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from dlkit.data.known import Known
from dlkit.data.tables.table_file import join_names
from dlkit.data.text.corpus import Corpus, Text, make_corpus
from dlkit.data.text.labelled import Examples, LabelledTexts, make_labelled_texts
from dlkit.errors import RequestError

_SPLITS = ("train", "val", "test")
_HINT = "dlkit/contracts.py says what such a function returns"


def corpus_of(reference: str, returned: dict[Any, Any]) -> Corpus:
    """Running text from the {split: text} that FILE.py:NAME returned. Raises RequestError if it is anything else."""
    name = reference.rpartition(":")[2]
    _require_splits(name, returned)
    for split, text in returned.items():
        if not isinstance(text, str) or not text:
            raise RequestError(f"{name}: {split} is {_described(text)}, not a text", _HINT)
        _require_utf8(name, split, text)
    return make_corpus(name, {split: Text.of(text) for split, text in returned.items()})


def labelled_of(reference: str, returned: dict[Any, Any], known: Known | None) -> LabelledTexts:
    """Labelled texts from {split: [(text, label) or (text, second text, label), ...]}.

    Args:
        reference: FILE.py:NAME of the function.
        returned: by it.
        known: whose classes are meant, matched by name; else they are the labels of the training examples, sorted.

    Raises:
        RequestError: it is anything else, or a label is not among the classes.
    """
    name = reference.rpartition(":")[2]
    _require_splits(name, returned)
    parts = 0
    for split, rows in returned.items():
        if not isinstance(rows, list) or not rows:
            raise RequestError(f"{name}: {split} is {_described(rows)}, not a list of examples", _HINT)
        for number, row in enumerate(rows):
            if not _is_row(row) or len(row) != (parts := parts or len(row)):
                raise RequestError(f"{name}: example {number} of {split} is {_described(row)}", _HINT)
            _require_utf8(name, f"example {number} of {split}", "".join(row))
    classes = known.classes if known else tuple(sorted({row[-1] for row in returned["train"]}))
    if not classes[1:]:
        raise RequestError(f"{name}: all examples of train have the label {classes[0]!r}", "two classes are needed")
    index = {label: number for number, label in enumerate(classes)}
    splits: dict[str, Examples] = {}
    for split, rows in returned.items():
        strange = sorted({row[-1] for row in rows} - index.keys())
        if strange:
            raise RequestError(f"{name}: {split} has the label {strange[0]!r}; the classes are {join_names(classes)}")
        second = [row[1] for row in rows] if parts == 3 else None
        splits[split] = Examples([row[0] for row in rows], second, np.array([index[row[-1]] for row in rows]))
    return make_labelled_texts(name, splits, classes, sources={})


def _require_splits(name: str, returned: dict[Any, Any]) -> None:
    strange = [split for split in returned if split not in _SPLITS]
    if strange or "train" not in returned:
        found = f"a split {strange[0]!r}" if strange else "no split 'train'"
        raise RequestError(f"{name} returned {found}; splits are {join_names(_SPLITS)}", _HINT)


def _is_row(row: object) -> bool:
    if not isinstance(row, (tuple, list)):
        return False
    parts = cast("Sequence[object]", row)
    return len(parts) in (2, 3) and all(isinstance(part, str) for part in parts)


def _require_utf8(name: str, where: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{name}: {where} is not UTF-8 text: {error.reason}", _HINT) from error


def _described(value: object) -> str:
    return "empty" if value == "" else f"{value!r}"[:80]
