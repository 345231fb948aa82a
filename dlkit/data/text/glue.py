"""SST-2, IMDB, GLUE and SuperGLUE as texts or pairs of texts with an answer.

GLUE: Wang et al., arXiv:1804.07461. SuperGLUE: Wang et al., arXiv:1905.00537. "val" is the hub's validation split, and
"test" its test split if the labels are public; rows without a label are left out. Metrics are those of the
leaderboards.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dlkit.annotations import Rate
from dlkit.data.splits import split_three_ways
from dlkit.data.text import prepared
from dlkit.data.text.labelled import Answer, Examples, LabelledTexts, make_labelled_texts
from dlkit.data.text.text_columns import TEXT_COLUMNS
from dlkit.errors import DlkitError, RequestError
from dlkit.metrics.glue import GLUE, SUPERGLUE

# The hub's splits that each split may come from.
_SPLITS = {
    "train": ("train",),
    "val": ("validation", "validation_matched"),
    "val_mismatched": ("validation_mismatched",),
    "test": ("test",),
}


def sst2(*, validation: Rate = 0.0) -> LabelledTexts:
    """SST-2: sentences of film reviews, negative or positive (Socher et al. 2013).

    Args:
        validation: share of the training rows held out as "val", if the data set has no validation split.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    return _load("sst2", ("accuracy",), validation)


def imdb(*, validation: Rate = 0.1) -> LabelledTexts:
    """IMDB: whole film reviews, negative or positive, 25,000 for training and 25,000 for testing (Maas et al. 2011).

    Args:
        validation: share of the training rows held out as "val".

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    return _load("imdb", ("accuracy",), validation)


def glue(
    *, config: Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"], validation: Rate = 0.0
) -> LabelledTexts:
    """A task of GLUE. Results are reported on "val", since the test labels are secret.

    Args:
        config: the task.
        validation: share of the training rows held out as "val", if the data set has no validation split.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    return _load(f"glue/{config}", GLUE[config], validation)


def superglue(
    *, config: Literal["boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc"], validation: Rate = 0.0
) -> LabelledTexts:
    """A task of SuperGLUE, without spans. Results are reported on "val", since the test labels are secret.

    In ReCoRD each entity of the passage is a candidate, inserted into the gap of the query.

    Args:
        config: the task.
        validation: share of the training rows held out as "val", if the data set has no validation split.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
    """
    if config in ("copa", "record"):
        return _copa() if config == "copa" else _record()
    return _load(f"superglue/{config}", SUPERGLUE[config], validation)


def _load(name: str, metrics: tuple[str, ...], validation: float) -> LabelledTexts:
    data = prepared.load_prepared_texts(name)
    number = data.classes is None
    splits: dict[str, Examples] = {}
    for split, table in _labelled_tables(data).items():
        rows = table.to_pydict()
        first, second = TEXT_COLUMNS[name].read(rows)
        targets = table["label"].to_numpy()
        groups = _questions(rows["idx"]) if "exact_match" in metrics else None
        splits[split] = Examples(first, second, targets.astype(np.float32 if number else np.int64), groups=groups)
    if validation > 0:
        if "val" in splits:
            raise RequestError(f"{name} has a validation split; validation: {validation} makes none", "leave it out")
        splits |= _hold_out(splits["train"], data.classes or (), validation)
    answer: Answer = "number" if number else "class"
    return make_labelled_texts(name, splits, data.classes or (), answer=answer, metrics=metrics, sources=data.sources)


def _labelled_tables(data: prepared.PreparedTexts) -> dict[str, pa.Table]:
    """The rows of each split that have a label."""
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
    split_rows = split_three_ways(train.targets, classes, test=0.0, validation=share)
    return {
        name: Examples(
            [train.first[i] for i in rows],
            [train.second[i] for i in rows] if train.second is not None else None,
            train.targets[rows],
        )
        for name, rows in split_rows.items()
    }


def _copa() -> LabelledTexts:
    """The more plausible of two causes or effects: two candidates, each after the premise and the question."""
    data = prepared.load_prepared_texts("superglue/copa")
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
    return make_labelled_texts(
        "superglue/copa",
        splits,
        ("choice1", "choice2"),
        answer="candidate",
        metrics=SUPERGLUE["copa"],
        sources=data.sources,
    )


def _questions(indices: list[dict[str, int]]) -> NDArray[np.int64]:
    """The index of the MultiRC question that each example, one of its answers, belongs to, (N,)."""
    pairs = [(index["paragraph"], index["question"]) for index in indices]
    questions = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    return np.array([questions[pair] for pair in pairs], dtype=np.int64)


def _record() -> LabelledTexts:
    """Which entity fills the gap of a query about a passage (Zhang et al., arXiv:1810.12885).

    Several entities may be right: training takes the first of them, evaluation gives each candidate its own credit.
    """
    data = prepared.load_prepared_texts("superglue/record")
    splits: dict[str, Examples] = {}
    most = 0
    for split, table in ((name, data.tables[hub[0]]) for name, hub in _SPLITS.items() if hub[0] in data.tables):
        first: list[str] = []
        second: list[str] = []
        targets: list[int] = []
        counts: list[int] = []
        credit: list[tuple[float, float]] = []
        rows = table.select(["passage", "query", "entities", "answers"]).to_pydict()
        for passage, query, entities, answers in zip(*rows.values(), strict=True):
            if not answers or not entities:  # the test split hides its answers
                continue
            candidates = list(dict.fromkeys(entities))
            earned = [answer_credit(candidate, answers) for candidate in candidates]
            first += [passage] * len(candidates)
            second += [query.replace("@placeholder", candidate) for candidate in candidates]
            targets.append(max(range(len(earned)), key=earned.__getitem__))
            counts.append(len(candidates))
            credit += earned
        if targets:
            most = max(most, *counts)
            splits[split] = Examples(
                first, second, np.array(targets), np.array(counts), credit=np.array(credit, dtype=np.float32)
            )
    if "train" not in splits:
        raise DlkitError(f"{data.name} has no training rows with answers", "dlkit download NAME --verify repairs it")
    classes = tuple(f"entity {i}" for i in range(1, most + 1))
    return make_labelled_texts(
        data.name, splits, classes, answer="candidate", metrics=SUPERGLUE["record"], sources=data.sources
    )


def answer_credit(candidate: str, answers: list[str]) -> tuple[float, float]:
    """The F1 of words, and exact match, of a candidate with the best matching answer.

    Words are compared as SQuAD does (Rajpurkar et al., arXiv:1606.05250): without case, punctuation and articles.
    """
    given = _words(candidate)
    pairs = [(given, _words(answer)) for answer in answers]
    # F1 = 2 |common words| / (|given| + |right|)
    f1 = (2 * (Counter(a) & Counter(b)).total() / max(1, len(a) + len(b)) for a, b in pairs)
    return max(f1), float(any(a == b for a, b in pairs))


def _words(text: str) -> list[str]:
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()
