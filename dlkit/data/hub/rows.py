"""Rows of numbers and categories and their classes of a data set of the Hugging Face Hub."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.annotations import HubPath, Rate
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.hub.columns import CLASS, LABELS, NUMBER, TEXT, TRUTH, WHOLE, hub_table, kind_of, require_hub_column
from dlkit.data.hub.labelled_splits import hold_out_rows, hub_classes, hub_sources, read_labelled_splits
from dlkit.data.hub.opened import HubData, open_hub_data
from dlkit.data.known import Known
from dlkit.data.tables.categories import Unknown, training_categories
from dlkit.data.tables.column_values import require_range
from dlkit.data.tables.columns import remarks_on_kinds
from dlkit.data.tables.feature_rows import FeatureRows, feature_rows
from dlkit.data.tables.missing import Missing
from dlkit.data.tables.split_column import SplitColumn
from dlkit.data.tables.table_data import scaled_rows, stand_ins_of
from dlkit.data.tables.table_file import join_names
from dlkit.data.tables.targets import read_targets


def hub_rows(
    known: Known | None = None,
    answer: Literal["class", "number"] = "class",
    /,
    *,
    path: HubPath,
    config: str | None = None,
    split: str | None = None,
    label: str | None = None,
    columns: tuple[str, ...] | None = None,
    categorical: tuple[str, ...] = (),
    category_encoding: Literal["embedding", "one_hot"] = "embedding",
    missing: Missing = "error",
    unknown: Unknown = "error",
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> Dataset:
    """Rows of a data set in the Hub's layout: features (N, F) float64 and the classes of the label, or its
    numbers, (N,) float64.

    Its splits are train, val and test by their names; a class label gives names and order of the classes. Boolean
    features become 0 and 1. For a known model, columns are read by its names and labels by its classes.

    Args:
        path: OWNER/NAME as `dlkit download hf:OWNER/NAME` has fetched it, perhaps with @REVISION; or a folder in the
            Hub's layout, or one that `save_to_disk` wrote.
        config: the configuration, where the data set has several.
        split: the only split to take; null for all that are called after train, validation or test.
        label: the column of classes (class labels, text, integers or booleans) or of the number to predict; null for
            the only class label.
        columns: the feature columns; null for all but the label that hold numbers, text or class labels.
        categorical: columns of numbers or booleans that are categories; columns of text always are.
        category_encoding: whether a model has a learned vector for each category, or an input (one_hot).
        missing: what is done about missing values. error counts them; drop leaves out their rows; mean and median put
            that of the training rows in their place, and none of its categories.
        unknown: whether a category that no training row has is an error, or none of those known (ignore).
        test: share of the training rows held out as "test", where there is neither a validation nor a test split.
        validation: share of the training rows held out as "val", where there is no validation split.

    Raises:
        RequestError: there is no such configuration, split or column, or it holds something else.
        DlkitError: the data set is not here, damaged, or without labels; a value is missing or infinite.
    """
    data = open_hub_data(path, config)
    of_label = LABELS if answer == "class" else (NUMBER, WHOLE, TRUTH)
    answers = require_hub_column(data, "label", label, of_label, ("label", "labels", "target", "class"))
    wanted = _features(data, answers, columns, categorical, known)
    found = read_labelled_splits(data, answers, wanted, split, known)
    kinds = known.columns if known else None
    read: dict[str, FeatureRows] = {}
    for name, source in found.chosen.names.items():  # training rows come first, and others are read by their columns
        table = hub_table(data, source, found.rows[source])
        new = kinds is None
        read[name] = feature_rows(
            table, label=answers, answer=answer, missing=missing, columns=columns if new or known else None,
            categorical=categorical if new else (), known=kinds, by=SplitColumn(),
        )  # fmt: skip
        kinds = read[name].kinds
    assert kinds is not None
    found = replace(found, tables={name: rows.table for name, rows in read.items()})
    classes, remarks = (), list[str]()
    targets: dict[str, NDArray[Any]]
    if answer == "number":
        numbered = {name: read_targets(rows.table, answers, answer) for name, rows in read.items()}
        targets = {name: of.values for name, of in numbered.items()}
        held = hold_out_rows(found, {name: of.strata for name, of in numbered.items()}, ("row",), test, validation)
    else:
        classes, targets, remarks = hub_classes(found, answers, known)
        held = hold_out_rows(found, targets, classes, test, validation)
    training = next(iter(read))
    categories = known.categories if known else training_categories(read[training].table, kinds, held[training][1])
    numbers: dict[str, NDArray[np.float64]] = {}
    own = {origin: {name: chosen for name, (source, chosen) in held.items() if source == origin} for origin in read}
    for origin, rows in read.items():
        found_here, more = rows.numbers(categories, unknown, own[origin])
        numbers |= found_here
        remarks += [*rows.remarks, *remarks_on_kinds(rows.table, rows.kinds, kinds), *more]
    fill = stand_ins_of(kinds, numbers[training], missing, known)
    for origin, rows in read.items():
        rows.put_in({name: numbers[name] for name in own[origin]}, own[origin], fill)
    splits = {
        name: Split(torch.from_numpy(numbers[name]), torch.from_numpy(targets[origin][chosen]))
        for name, (origin, chosen) in held.items()
    }
    names = {name: functools.partial(_row_name, read[origin], chosen) for name, (origin, chosen) in held.items()}
    counts = {name: len(of.targets) for name, of in splits.items()}
    what = f"{join_names(kinds)}; label {answers!r}: {join_names(classes) or 'a number'}"
    sources = hub_sources(data, found.chosen, counts, (*kinds, answers), what)
    sources |= {"label": answers, "columns": list(kinds), "remarks": list(dict.fromkeys(remarks))}
    dataset = make_dataset(data.place.shown.rpartition("/")[2], splits, classes, **sources)
    dataset = replace(
        scaled_rows(dataset, kinds, known), names=names, categories=categories, stand_ins=fill,
        category_encoding=category_encoding,
    )  # fmt: skip
    mean, std = dataset.mean.numpy(), dataset.std.numpy()
    for name, (origin, chosen) in held.items():
        require_range(read[origin].table, kinds, splits[name].inputs.numpy(), chosen, mean, std)
    return dataset


def _features(
    data: HubData, label: str, columns: tuple[str, ...] | None, categorical: tuple[str, ...], known: Known | None
) -> list[str]:
    """The columns to read: those named, those of training, or all that can be features."""
    fitting = (NUMBER, WHOLE, TRUTH, TEXT, CLASS)
    named = dict.fromkeys((*(columns or ()), *categorical))
    for name in named:
        require_hub_column(data, "columns", name, fitting, ())
    if columns is not None:
        return list(named)
    if known and known.columns:
        return [name for name in known.columns if name in data.features]
    return [name for name, feature in data.features.items() if name != label and kind_of(feature) in fitting]


def _row_name(source: FeatureRows, rows: NDArray[np.int64], row: int) -> str:
    """What the user calls a row, counted from 1."""
    return f"{source.table.file}, row {source.table.index(int(rows[row])) + 1}"
