"""SST-2, IMDB, GLUE and SuperGLUE as texts, or pairs of texts, with an answer.

GLUE: Wang et al., arXiv:1804.07461. SuperGLUE: arXiv:1905.00537. "val" is the hub's validation split and "test" its
test split where the labels are public; rows without a label are left out. A task's scores are its leaderboard's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dlkit.annotations import Rate
from dlkit.data import prepared
from dlkit.data.labelled import Answer, Examples, LabelledTexts, labelled
from dlkit.data.splits import three_way
from dlkit.errors import DlkitError, RequestError

Rows = dict[str, list[Any]]
# What of a row is read first and second. SuperGLUE's marks and questions become part of the text.
Reader = Callable[[Rows], tuple[list[str], list[str] | None]]


def _columns(first: str, second: str | None = None) -> Reader:
    return lambda rows: (rows[first], rows[second] if second else None)


def _multirc(rows: Rows) -> tuple[list[str], list[str]]:
    return rows["paragraph"], [f"{q} {a}" for q, a in zip(rows["question"], rows["answer"], strict=True)]


def _wic(rows: Rows) -> tuple[list[str], list[str]]:
    pairs = zip(rows["word"], rows["sentence1"], strict=True)
    return [f"{word}: {sentence}" for word, sentence in pairs], rows["sentence2"]


def _wsc(rows: Rows) -> tuple[list[str], list[str]]:
    """The text, and the pronoun with what it may stand for; the place of the pronoun is marked by asterisks."""
    marked: list[str] = []
    for text, place, pronoun in zip(rows["text"], rows["span2_index"], rows["span2_text"], strict=True):
        words = text.split(" ")
        if place < len(words):  # else there is nothing to mark, and the pronoun is named in the second text
            words[place] = words[place].replace(pronoun, f"* {pronoun} *", 1)
        marked.append(" ".join(words))
    return marked, [f"{b}: {a}" for a, b in zip(rows["span1_text"], rows["span2_text"], strict=True)]


_PAIR = _columns("sentence1", "sentence2")
_GLUE: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "cola": (_columns("sentence"), ("matthews",)),
    "sst2": (_columns("sentence"), ("accuracy",)),
    "mrpc": (_PAIR, ("f1", "accuracy")),
    "stsb": (_PAIR, ("pearson", "spearman")),
    "qqp": (_columns("question1", "question2"), ("f1", "accuracy")),
    "mnli": (_columns("premise", "hypothesis"), ("accuracy",)),
    "qnli": (_columns("question", "sentence"), ("accuracy",)),
    "rte": (_PAIR, ("accuracy",)),
    "wnli": (_PAIR, ("accuracy",)),
}
_SUPERGLUE: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "boolq": (_columns("question", "passage"), ("accuracy",)),
    "cb": (_columns("premise", "hypothesis"), ("macro_f1", "accuracy")),
    "multirc": (_multirc, ("f1",)),
    "rte": (_columns("premise", "hypothesis"), ("accuracy",)),
    "wic": (_wic, ("accuracy",)),
    "wsc": (_wsc, ("accuracy",)),
}
# A split here -> the splits of the hub that it may come from.
_SPLITS = {
    "train": ("train",),
    "val": ("validation", "validation_matched"),
    "val_mismatched": ("validation_mismatched",),
    "test": ("test",),
}


def sst2(*, validation: Rate = 0.0) -> LabelledTexts:
    """Sentences of film reviews, negative or positive (Socher et al. 2013).

    Args:
        validation: share of the training rows that is held out as "val", where the data set has no validation split.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    return _load("sst2", _columns("sentence"), ("accuracy",), validation)


def imdb(*, validation: Rate = 0.1) -> LabelledTexts:
    """Whole film reviews, negative or positive: 25,000 for training and 25,000 for testing (Maas et al. 2011).

    Args:
        validation: share of the training rows that is held out as "val".

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    return _load("imdb", _columns("text"), ("accuracy",), validation)


def glue(
    *, config: Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"], validation: Rate = 0.0
) -> LabelledTexts:
    """A task of GLUE; "val" is what is reported, since the test labels are secret.

    Args:
        config: which task.
        validation: share of the training rows that is held out as "val", where the data set has no validation split.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    return _load(f"glue/{config}", *_GLUE[config], validation)


def superglue(
    *, config: Literal["boolq", "cb", "copa", "multirc", "rte", "wic", "wsc"], validation: Rate = 0.0
) -> LabelledTexts:
    """A task of SuperGLUE that needs no spans; "val" is what is reported, since the test labels are secret.

    Args:
        config: which task.
        validation: share of the training rows that is held out as "val", where the data set has no validation split.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    if config == "copa":
        return _copa()
    return _load(f"superglue/{config}", *_SUPERGLUE[config], validation)


def _load(name: str, reader: Reader, metrics: tuple[str, ...], validation: float) -> LabelledTexts:
    data = prepared.load(name)
    number = data.classes is None
    splits: dict[str, Examples] = {}
    for split, table in _labelled_tables(data).items():
        first, second = reader(table.to_pydict())
        targets = table["label"].to_numpy()
        splits[split] = Examples(first, second, targets.astype(np.float32 if number else np.int64))
    if validation > 0:
        if "val" in splits:
            raise RequestError(f"{name} has a validation split; validation: {validation} makes none", "leave it out")
        splits |= _hold_out(splits["train"], data.classes or (), validation)
    answer: Answer = "number" if number else "class"
    return labelled(name, splits, data.classes or (), answer=answer, metrics=metrics, sources=data.sources)


def _labelled_tables(data: prepared.PreparedTexts) -> dict[str, pa.Table]:
    """The rows of each split whose label is public."""
    found: dict[str, pa.Table] = {}
    for split, names in _SPLITS.items():
        for table in (data.tables[name] for name in names if name in data.tables):
            known = table if data.classes is None and split != "test" else table.filter(pc.field("label") >= 0)
            if known.num_rows:
                found[split] = known
    if "train" not in found:
        raise DlkitError(f"{data.name} has no labelled training rows", "dlkit download NAME --verify repairs it")
    return found


def _hold_out(train: Examples, classes: tuple[str, ...], share: float) -> dict[str, Examples]:
    parts = three_way(train.targets, classes, test=0.0, validation=share)
    return {
        name: Examples(
            [train.first[i] for i in rows],
            [train.second[i] for i in rows] if train.second is not None else None,
            train.targets[rows],
        )
        for name, rows in parts.items()
    }


def _copa() -> LabelledTexts:
    """The more plausible of two causes or effects: two candidates, each behind the premise and the question."""
    data = prepared.load("superglue/copa")
    splits: dict[str, Examples] = {}
    for split, table in _labelled_tables(data).items():
        rows = table.to_pydict()
        first: list[str] = []
        second: list[str] = []
        for premise, asks, *choices in zip(
            rows["premise"], rows["question"], rows["choice1"], rows["choice2"], strict=True
        ):
            question = "What was the cause?" if asks == "cause" else "What happened as a result?"
            first += [f"{premise} {question}"] * 2
            second += choices
        targets = table["label"].to_numpy().astype(np.int64)
        splits[split] = Examples(first, second, targets, np.full(len(targets), 2))
    return labelled(
        "superglue/copa",
        splits,
        ("choice1", "choice2"),
        answer="candidate",
        metrics=("accuracy",),
        sources=data.sources,
    )
