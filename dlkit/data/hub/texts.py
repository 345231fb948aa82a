"""Texts, or pairs of texts, and their answers of a data set of the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.annotations import HubPath, Rate
from dlkit.data.hub.columns import LABELS, NUMBER, TEXT, described_columns, hub_table, kind_of, require_hub_column
from dlkit.data.hub.labelled_splits import (
    LabelledSplits,
    hold_out_rows,
    hub_classes,
    hub_sources,
    read_labelled_splits,
)
from dlkit.data.hub.opened import HubData, open_hub_data
from dlkit.data.known import Known
from dlkit.data.tables.column_values import number_values
from dlkit.data.tables.table_file import join_names
from dlkit.data.text.labelled import Examples, LabelledTexts, make_labelled_texts, text_values
from dlkit.errors import RequestError


def hub_texts(
    known: Known | None = None,
    /,
    *,
    path: HubPath,
    config: str | None = None,
    split: str | None = None,
    text: str | tuple[str, str],
    pair: str | None = None,
    label: str | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> LabelledTexts:
    """Texts, or pairs of texts, with a class or a number each, of a data set in the Hub's layout.

    Its splits are train, val and test by their names; a class label gives names and order of the classes. Labels that
    are fractions are numbers to predict. A trained model maps labels to its own classes by name.

    Args:
        path: OWNER/NAME as `dlkit download hf:OWNER/NAME` has fetched it, perhaps with @REVISION; or a folder in the
            Hub's layout, or one that `save_to_disk` wrote.
        config: the configuration, where the data set has several.
        split: the only split to take; null for all that are called after train, validation or test.
        text: the column of the text, or the two columns of a pair.
        pair: the column of a second text; null for single texts, and where text names two.
        label: the column of the answer: class labels, text, integers, booleans, numbers; null for the only class label.
        test: share of the training rows held out as "test", where there is neither a validation nor a test split.
        validation: share of the training rows held out as "val", where there is no validation split.

    Raises:
        RequestError: there is no such configuration, split or column, or it holds something else.
        DlkitError: the data set is not here, damaged, or without labels.
    """
    data = open_hub_data(path, config)
    names = _text_columns(data, text, pair)
    answers = require_hub_column(data, "label", label, LABELS, ("label", "labels"))
    if answers in names or len(set(names)) < len(names):
        raise RequestError(
            f"data.text and data.label name a column twice: {join_names([*names, answers])}",
            f"columns: {described_columns(data)}",
        )
    found = read_labelled_splits(data, answers, names, split, known)
    numbers = _numbers(found, answers) if known is None or not known.classes else None
    classes, remarks = (), list[str]()
    targets: dict[str, NDArray[Any]]
    if numbers is not None:
        targets = numbers
        strata = {name: np.zeros(len(of), np.int64) for name, of in numbers.items()}
        rows = hold_out_rows(found, strata, ("row",), test, validation)
    else:
        classes, targets, remarks = hub_classes(found, answers, known)
        rows = hold_out_rows(found, targets, classes, test, validation)
    splits: dict[str, Examples] = {}
    for name, (origin, chosen) in rows.items():
        source = found.chosen.names[origin]
        table = hub_table(data, source, found.rows[source].select_columns(names).select(chosen))
        first, *second = (text_values(table, column) for column in names)
        splits[name] = Examples(first, second[0] if second else None, targets[origin][chosen])
    counts = {name: len(of.targets) for name, of in splits.items()}
    read = f"text {join_names(map(repr, names))}, label {answers!r}: {join_names(classes) or 'numbers'}"
    sources = hub_sources(data, found.chosen, counts, (*names, answers), read) | {"remarks": remarks}
    metrics = ("accuracy",) if classes else ("pearson", "spearman")
    return make_labelled_texts(
        data.place.shown.rpartition("/")[2], splits, classes, answer="class" if classes else "number",
        metrics=metrics, sources=sources,
    )  # fmt: skip


def _text_columns(data: HubData, text: str | tuple[str, str], pair: str | None) -> list[str]:
    named = [text] if isinstance(text, str) else list(text)
    if len(named) > 1 and pair is not None:
        raise RequestError(f"data.text names {len(named)} columns, and data.pair another", "leave data.pair out")
    asked = [*named, *([pair] if pair else [])]
    return [require_hub_column(data, "text", name, (TEXT,), ()) for name in asked]


def _numbers(found: LabelledSplits, label: str) -> dict[str, NDArray[np.float32]] | None:
    """The numbers of each split, (N,), where labels are not whole; None where they are classes."""
    if kind_of(found.data.features[label]) != NUMBER:
        return None
    values = {name: number_values(table, label) for name, table in found.tables.items()}
    if any(np.isnan(of).any() for of in values.values()) or all((of == np.floor(of)).all() for of in values.values()):
        return None
    return {name: of.astype(np.float32) for name, of in values.items()}
