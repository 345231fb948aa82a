"""The user's own rows: columns of numbers and categories and a label, from CSV, JSON Lines or Parquet."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.annotations import Rate
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.known import Known
from dlkit.data.tables.categories import Unknown, training_categories
from dlkit.data.tables.column_values import require_range
from dlkit.data.tables.columns import remarks_on_kinds
from dlkit.data.tables.dialect import Decimal, DialectRequest, Separator
from dlkit.data.tables.feature_rows import read_feature_rows
from dlkit.data.tables.missing import Missing, stand_in
from dlkit.data.tables.split_column import SplitColumn
from dlkit.data.tables.table_file import CSV, JSONL, PARQUET, Format, join_names
from dlkit.data.tables.targets import read_targets


def table_dataset(
    format: Format,
    known: Known | None = None,
    answer: Literal["class", "number"] = "class",
    /,
    *,
    path: Path,
    label: str,
    columns: tuple[str, ...] | None = None,
    categorical: tuple[str, ...] = (),
    category_encoding: Literal["embedding", "one_hot"] = "embedding",
    missing: Missing = "error",
    unknown: Unknown = "error",
    test_path: Path | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
    group: str | None = None,
    time: str | None = None,
    separator: Separator = "auto",
    decimal: Decimal = "auto",
    encoding: str = "auto",
) -> Dataset:
    """Rows of a file: features (N, F) float64 and the classes of the label, sorted; or its numbers, (N,) float64.

    A class is text, an integer, a boolean or a whole number, stripped of surrounding spaces. Boolean features become 0
    and 1, categories the numbers that `Dataset` describes. For a known model, columns are read by its names, labels by
    its classes and categories by theirs. What was taken of the file and what was left out is recorded in the sources.

    Args:
        path: the file, relative to the current directory.
        label: the column that holds the class or the number to predict; of JSON Lines the key.
        columns: the feature columns; by default all but the label and an index written by pandas.
        categorical: columns of numbers or booleans that are categories, such as a postcode; columns of text always are.
        category_encoding: whether a model has a learned vector for each category, or an input (one_hot).
        missing: what is done about missing values. error counts them; drop leaves out their rows; mean and median put
            that of the training rows in their place, and none of its categories.
        unknown: whether a category that no training row has is an error, or none of those known (ignore).
        test_path: a second file with the rows of "test".
        test: share of the rows that is held out as "test", where there is no test_path.
        validation: share of the training rows that is held out as "val".
        group: a column such as a customer, whose rows are all in one split; test and validation are shares of groups.
        time: a column of dates, times or numbers: "test" has the latest rows, "val" the latest before them.
        separator: "auto", or what separates columns: comma, semicolon, tab, bar, space, or the character itself.
        decimal: the decimal mark of numbers.
        encoding: "auto", or that of the text, such as utf-8, cp1252, latin-1 or utf-16.

    Raises:
        RequestError: a column is missing, duplicated, unnamed, or of the wrong type.
        DlkitError: a file is missing, empty or damaged; a value is missing or infinite; there is a single class, or a
            class that is only in the test file or too small to be split.
    """
    read = functools.partial(
        read_feature_rows,
        format,
        label=label,
        answer=answer,
        missing=missing,
        request=DialectRequest(separator, decimal, encoding),
    )
    by = SplitColumn.asked_for(group, time, test=0.0 if test_path else test, validation=validation)
    main = read(Path(path), columns=columns, categorical=categorical, known=known and known.columns, by=by)
    table, kinds = main.table, main.kinds
    labels = read_targets(table, label, answer, known.classes if known else None)
    rows_of = by.split(table, labels)
    targets = {name: torch.from_numpy(labels.values[rows]) for name, rows in rows_of.items()}
    labels = labels.without_rows()
    remarks = [*main.remarks, *labels.remarks]
    if known and known.columns:
        remarks += remarks_on_kinds(table, kinds, known.columns)
    categories = known.categories if known else training_categories(table, kinds, rows_of["train"])
    numbers, more = main.numbers(categories, unknown, rows_of)
    fill = stand_ins_of(kinds, numbers["train"], missing, known)
    main.put_in(numbers, rows_of, fill)
    remarks += more
    splits = {name: Split(torch.from_numpy(numbers[name]), targets[name]) for name in rows_of}
    sources: dict[str, Any] = {"path": str(table.file.resolve()), "label": label, "columns": list(kinds)}
    files, left_out, tested = [(main, rows_of)], main.left_out, None
    if test_path:
        tested = read(Path(test_path), known=kinds, by=SplitColumn())
        right = read_targets(tested.table, label, answer, labels.classes)
        left_out = left_out | tested.left_out
        every = {"test": np.arange(tested.table.rows.num_rows)}
        numbers, more = tested.numbers(categories, unknown, every)
        tested.put_in(numbers, every, fill)
        splits["test"] = Split(torch.from_numpy(numbers["test"]), torch.from_numpy(right.values))
        sources["test_path"] = str(tested.table.file.resolve())
        files.append((tested, every))
        said = (*tested.remarks, *right.remarks, *remarks_on_kinds(tested.table, kinds, kinds), *more)
        remarks += [remark for remark in said if remark not in remarks]
    shown = [repr(name) + (f" ({why})" if why else "") for name, why in left_out.items()]
    sources |= {
        "left_out": list(left_out),
        "taken": f"{main.taken()}; label {label}: {labels.described}"
        + (f"; test: {tested.table.rows.num_rows} rows of {tested.table.file}" if tested else "")
        + (f"; left out: {join_names(shown)}" if shown else ""),
        "remarks": remarks,
        **({"dialect": table.dialect.record()} if format.untyped else {}),
        **({"missing": {"policy": missing, "values": main.missing}} if main.missing else {}),
    }
    names = {
        split: functools.partial(_row_name, source.table.file.name, source.table.kept, _compact(chosen))
        for source, there in files
        for split, chosen in there.items()
    }
    dataset = make_dataset(table.file.stem, splits, labels.classes if answer == "class" else (), **sources)
    dataset = replace(
        scaled_rows(dataset, kinds, known), names=names, categories=categories, stand_ins=fill,
        category_encoding=category_encoding,
    )  # fmt: skip
    mean, std = dataset.mean.numpy(), dataset.std.numpy()
    for source, there in files:
        for split, chosen in there.items():
            require_range(source.table, kinds, splits[split].inputs.numpy(), chosen, mean, std)
    return dataset


# The first line of CSV has the column names; JSON Lines has one object per line.
csv = functools.partial(table_dataset, CSV)
_ONE_WAY: dict[str, Any] = {"separator": "auto", "decimal": "auto", "encoding": "auto"}  # bound, and so no keys
jsonl = functools.partial(table_dataset, JSONL, **_ONE_WAY)
parquet = functools.partial(table_dataset, PARQUET, **_ONE_WAY)


def scaled_rows(dataset: Dataset, kinds: dict[str, str], known: Known | None) -> Dataset:
    """Rows with the kinds of their columns, scaled by their own statistics or those of a known model."""
    plain = torch.tensor([kind != "category" for kind in kinds.values()])  # categories are not scaled
    mean, std = torch.where(plain, dataset.mean, 0.0), torch.where(plain, dataset.std, 1.0)
    if known and known.mean is not None and known.std is not None:
        mean, std = known.mean, known.std
    return replace(dataset, columns=kinds, mean=mean, std=std)


def stand_ins_of(
    kinds: dict[str, str],
    training: NDArray[np.float64],
    missing: Missing,
    known: Known | None,
) -> dict[str, float]:
    """What stands for a missing value of each column of numbers: that of a known model, or of training rows (n, F)."""
    if missing not in ("mean", "median"):
        return {}
    plain = {name: index for index, (name, kind) in enumerate(kinds.items()) if kind != "category"}
    if known is None:
        return {
            name: stand_in(training[:, index], name, missing, [other for other in kinds if other != name])
            for name, index in plain.items()
        }
    if missing == "mean" and not known.stand_ins and known.mean is not None:
        return {name: float(known.mean[index]) for name, index in plain.items()}
    return known.stand_ins


def _compact(rows: NDArray[np.int64]) -> NDArray[np.int32] | NDArray[np.int64]:
    """The same indices, (n,), ascending, in half the memory where they are small enough."""
    return rows.astype(np.int32) if not len(rows) or rows[-1] < 2**31 else rows


def _row_name(file: str, kept: NDArray[np.int64] | None, rows: NDArray[Any], row: int) -> str:
    """What the user calls a row, counted from 1, of the `kept` rows of a file."""
    index = rows[row] if kept is None else kept[rows[row]]
    return f"{file}, row {int(index) + 1}"
