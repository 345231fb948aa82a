"""The labelled splits of a data set: their tables, their classes, and what is held out of the training rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.hub.columns import CLASS, hub_table, is_unlabelled, kind_of
from dlkit.data.hub.opened import HubData
from dlkit.data.hub.splits import ChosenSplits, choose_splits
from dlkit.data.known import Known
from dlkit.data.labels import class_indices, class_names, read_label_column
from dlkit.data.splits import split_three_ways
from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import DlkitError, RequestError

HeldRows = dict[str, tuple[str, NDArray[np.int64]]]  # split -> the split that its rows come from, and these rows


@dataclass(frozen=True)
class LabelledSplits:
    """The labelled splits: `tables` holds their labels, `rows` all columns asked for, which are not read yet."""

    data: HubData
    chosen: ChosenSplits
    tables: dict[str, Table]
    rows: dict[str, Any]


def read_labelled_splits(
    data: HubData, label: str, columns: Sequence[str], split: str | None, known: Known | None
) -> LabelledSplits:
    """The splits whose rows have labels.

    Args:
        data: the data set.
        label: the column of labels.
        columns: further columns to read.
        split: the only split to take; None for all that are called after one.
        known: what a trained model knows, which needs no training split.

    Raises:
        DlkitError: there is no training split, or it has no labels.
    """
    chosen = choose_splits(data, split, known is None)
    read = data.rows(list(dict.fromkeys((*columns, label))))
    tables: dict[str, Table] = {}
    for name, source in list(chosen.names.items()):
        table = hub_table(data, source, read[source].select_columns([label]))
        why = "no rows" if not table.rows.num_rows else "no labels" if is_unlabelled(table, label) else None
        if why is not None and (split is not None or name == "train"):
            labelled = [other for other in data.splits if other != source]
            hint = f"its other splits: {', '.join(labelled)}" if labelled else "there is nothing to learn from"
            what = f"no row has a label in {label!r}: they are hidden, or missing" if why == "no labels" else "no rows"
            raise DlkitError(f"{data.shown}, split {source!r}: {what}", hint)
        if why is not None:
            chosen.leave_out(name, why)
        else:
            tables[name] = table
    if not tables:
        raise DlkitError(
            f"{data.shown} has no split with labels: {', '.join(chosen.left_out)}", "give data with labels"
        )
    return LabelledSplits(data, chosen, tables, read)


def hub_classes(
    found: LabelledSplits, label: str, known: Known | None
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]], list[str]]:
    """The names of the classes in their order, the class of each row by split, (N,), and remarks.

    The names of a class label come in its own order; those of other columns are sorted.
    """
    columns = {
        name: read_label_column(table, label, known.classes if known else None) for name, table in found.tables.items()
    }
    training = "train" if "train" in columns else next(iter(columns))
    feature = found.data.features[label]
    if known is not None:
        classes = known.classes
    elif kind_of(feature) == CLASS:
        classes = tuple(str(name).strip() for name in feature.names)
        if len(classes) < 2:
            raise DlkitError(f"{found.data.shown}: only one class, {', '.join(classes)!r}, in the label {label!r}")
    else:
        classes = class_names(found.tables[training], columns[training])
    targets = {name: class_indices(found.tables[name], column, classes) for name, column in columns.items()}
    remarks = list(dict.fromkeys(remark for column in columns.values() for remark in column.remarks))
    return classes, targets, remarks


def hold_out_rows(
    found: LabelledSplits,
    targets: Mapping[str, NDArray[Any]],
    classes: tuple[str, ...],
    test: float,
    validation: float,
) -> HeldRows:
    """The rows of each split, some of the training rows held out where the data set has no such split.

    Args:
        found: the splits.
        targets: a class, or a number from 0 that stands for a stratum, of each row, (N,), by split.
        classes: their names.
        test: share of the training rows for "test", where there is neither a validation nor a test split.
        validation: share of the training rows for "val".

    Raises:
        RequestError: `validation` is given and there is a validation split.
    """
    rows: HeldRows = {name: (name, np.arange(len(of))) for name, of in targets.items()}
    if validation > 0 and "val" in targets:
        raise RequestError(
            f"data.validation is {validation}, but {found.data.shown} has the split {found.chosen.names['val']!r}",
            "data.validation=0 takes the split",
        )
    if "train" not in targets:
        return rows
    present, strata = np.unique(targets["train"], return_inverse=True)  # a class may have no rows
    names = tuple(classes[index] for index in present)
    held = split_three_ways(strata, names, test=test if len(targets) == 1 else 0.0, validation=validation)
    held_out: HeldRows = {name: ("train", of) for name, of in held.items()}
    all_rows = held_out | rows | {"train": held_out["train"]}
    return {name: all_rows[name] for name in ("train", "val", "test") if name in all_rows}


def hub_sources(
    data: HubData, chosen: ChosenSplits, sizes: Mapping[str, int], columns: Collection[str], read: str, unit: str = ""
) -> dict[str, Any]:
    """Where the data came from, and a line that says what was taken and what was left out.

    Args:
        data: the data set.
        chosen: its splits.
        sizes: split -> how many rows, or of another unit.
        columns: those that were read.
        read: what was read, in words.
        unit: of the sizes, such as " bytes".
    """
    gone = [f"column {name!r}" for name in data.features if name not in columns]
    gone += [f"split {name!r}" + (f" ({why})" if why else "") for name, why in chosen.left_out.items()]
    called = {name: source for name, source in chosen.names.items() if source != name}
    shown = {"train": "all"} if list(sizes) == ["train"] else {}
    splits = ", ".join(
        f"{shown.get(name, name)} {size:,}{unit}" + (f" ({called[name]})" if name in called else "")
        for name, size in sizes.items()
    )
    place = data.place
    part = f", only {' and '.join(place.include)}" if place.include else ""
    return {
        "path": str(place.folder.resolve()),
        **({"repository": place.shown, "commit": place.commit} if place.commit else {}),
        **({"config": data.config} if data.config else {}),
        **({"include": list(place.include)} if place.include else {}),
        "split_names": dict(chosen.names),
        "left_out": gone,
        "taken": f"{data.shown}{part}: {splits}; {read}" + (f"; left out: {join_names(gone)}" if gone else ""),
    }
