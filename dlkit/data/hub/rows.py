"""Rows of numbers and their classes of a data set of the Hugging Face Hub."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dlkit.annotations import HubPath, Rate
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.hub.columns import LABELS, NUMBER, TRUTH, WHOLE, hub_table, kind_of, require_hub_column
from dlkit.data.hub.labelled_splits import hold_out_rows, hub_classes, hub_sources, read_labelled_splits
from dlkit.data.hub.opened import HubData, open_hub_data
from dlkit.data.known import Known
from dlkit.data.tables.columns import column_values, feature_columns, remarks_on_kinds, require_range
from dlkit.data.tables.table_file import Table, join_names


def hub_rows(
    known: Known | None = None,
    /,
    *,
    path: HubPath,
    config: str | None = None,
    split: str | None = None,
    label: str | None = None,
    columns: tuple[str, ...] | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> Dataset:
    """Rows of a data set in the Hub's layout: features (N, F) float64 and the classes of the label.

    Its splits are train, val and test by their names; a class label gives names and order of the classes. Boolean
    features become 0 and 1. For a known model, columns are read by its names and labels by its classes.

    Args:
        path: OWNER/NAME as `dlkit download hf:OWNER/NAME` has fetched it, perhaps with @REVISION; or a folder in the
            Hub's layout, or one that `save_to_disk` wrote.
        config: the configuration, where the data set has several.
        split: the only split to take; null for all that are called after train, validation or test.
        label: the column of classes: class labels, text, integers or booleans; null for the only class label.
        columns: the feature columns, all numeric; null for all columns of numbers but the label.
        test: share of the training rows held out as "test", where there is neither a validation nor a test split.
        validation: share of the training rows held out as "val", where there is no validation split.

    Raises:
        RequestError: there is no such configuration, split or column, or it holds something else.
        DlkitError: the data set is not here, damaged, or without labels; a value is missing or infinite.
    """
    data = open_hub_data(path, config)
    answers = require_hub_column(data, "label", label, LABELS, ("label", "labels", "target", "class"))
    wanted = _features(data, answers, columns, known)
    found = read_labelled_splits(data, answers, wanted, split, known)
    tables = {
        name: hub_table(data, source, found.rows[source])
        for name, source in found.chosen.names.items()
        if name in found.tables
    }
    training = tables.get("train") or next(iter(tables.values()))
    features, _ = feature_columns(training, answers, columns, known.columns if known else None)
    classes, targets, remarks = hub_classes(found, answers, known)
    rows = hold_out_rows(found, targets, classes, test, validation)
    values = {name: _values(table, list(features)) for name, table in tables.items()}
    splits = {
        name: Split(torch.from_numpy(values[origin][chosen]), torch.from_numpy(targets[origin][chosen]))
        for name, (origin, chosen) in rows.items()
    }
    if known and known.columns:
        remarks += remarks_on_kinds(training, features, known.columns)
    counts = {name: len(of.targets) for name, of in splits.items()}
    read = f"{join_names(features)}; label {answers!r}: {join_names(classes)}"
    sources = hub_sources(data, found.chosen, counts, (*features, answers), read) | {"columns": list(features)}
    names = {
        name: functools.partial(_row_name, data.shown, found.chosen.names[origin], chosen)
        for name, (origin, chosen) in rows.items()
    }
    name = data.place.shown.rpartition("/")[2]
    dataset = make_dataset(name, splits, classes, **sources, remarks=remarks)
    dataset = replace(dataset, columns=features, names=names)
    if known and known.mean is not None and known.std is not None:
        dataset = replace(dataset, mean=known.mean, std=known.std)
    mean, std = dataset.mean.numpy(), dataset.std.numpy()
    for name, table in tables.items():
        every = np.arange(len(values[name]))
        require_range(table, features, values[name], every, mean, std)
    return dataset


def _features(data: HubData, label: str, columns: tuple[str, ...] | None, known: Known | None) -> list[str]:
    """The columns to read: those named, those of training, or all of numbers."""
    if columns is not None:
        return [require_hub_column(data, "columns", name, (NUMBER, WHOLE, TRUTH), ()) for name in columns]
    if known and known.columns:
        return [name for name in known.columns if name in data.features]
    fitting = (NUMBER, WHOLE, TRUTH)
    return [name for name, feature in data.features.items() if name != label and kind_of(feature) in fitting]


def _values(table: Table, features: list[str]) -> Any:
    """(N, F) float64, all finite."""
    return np.stack([column_values(table, name) for name in features], axis=1)


def _row_name(shown: str, split: str, rows: Any, row: int) -> str:
    return f"{shown}, {split}, row {rows[row] + 1}"
