"""Which columns of a data set are the image, the texts and the label, and the rows of a split as a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dlkit.data.hub.opened import HubData
from dlkit.data.tables.table_file import PARQUET, Table, join_names
from dlkit.errors import RequestError

IMAGE, TEXT, CLASS, NUMBER, WHOLE, TRUTH = "image", "text", "class label", "number", "whole number", "true or false"
LABELS = (CLASS, TEXT, WHOLE, TRUTH, NUMBER)
_NUMBERS = {"float": NUMBER, "decim": NUMBER, "int": WHOLE, "uint": WHOLE, "bool": TRUTH}


def kind_of(feature: Any) -> str:
    """What a column holds, in words."""
    name = type(feature).__name__
    if name in ("Image", "ClassLabel"):
        return IMAGE if name == "Image" else CLASS
    if name != "Value":
        return {"dict": "fields", "list": "list"}.get(name, name.lower())
    kind: str = feature.dtype
    if kind in ("string", "large_string", "string_view"):
        return TEXT
    return next((words for start, words in _NUMBERS.items() if kind.startswith(start)), kind)


def described_columns(data: HubData) -> str:
    """Each column with what it holds."""
    return join_names(f"{name} ({kind_of(feature)})" for name, feature in data.features.items())


def require_hub_column(data: HubData, key: str, asked: str | None, kinds: Collection[str], usual: Sequence[str]) -> str:
    """The column for a key of the recipe.

    Args:
        data: the data set.
        key: `image`, `text`, `label`.
        asked: its name in the recipe; None for the only one that fits, or one of the usual names.
        kinds: what it may hold, what is likelier first.
        usual: names that such a column often has.

    Raises:
        RequestError: there is no such column, or it holds something else; none fits, or several do.
    """
    if asked is not None:
        if asked not in data.features:
            close = get_close_matches(asked, data.features, n=1)
            guess = f" (did you mean {close[0]!r}?)" if close else ""
            raise RequestError(f"{data.shown} has no column {asked!r}{guess}", f"columns: {described_columns(data)}")
        if (kind := kind_of(data.features[asked])) not in kinds:
            raise RequestError(
                f"{data.shown}: column {asked!r} holds {kind}; data.{key} needs {' or '.join(kinds)}",
                f"columns: {described_columns(data)}",
            )
        return asked
    fitting = [name for name, feature in data.features.items() if kind_of(feature) in kinds]
    likely = [name for name in fitting if kind_of(data.features[name]) == next(iter(kinds))]
    named = [name for name in usual if name in fitting]
    chosen = likely if len(likely) == 1 else named if named else fitting
    if len(chosen) == 1 or (named and chosen is named):
        return chosen[0]
    found = f"{len(chosen)} columns of {' or '.join(kinds)}" if chosen else f"no column of {' or '.join(kinds)}"
    hint = f"choose one: data.{key}={chosen[0]}; columns: " if chosen else "columns: "
    raise RequestError(f"{data.shown} has {found} for data.{key}", hint + described_columns(data))


def hub_table(data: HubData, split: str, rows: Any) -> Table:
    """The rows of a split as a table whose class labels are names; -1, the Hub's mark of a hidden one, is missing.

    Raises DlkitError where a label is none of the names.
    """
    table: pa.Table = rows[:]
    whole = Table(Path(f"{data.shown}, {split}"), table, PARQUET)
    for index, (name, feature) in enumerate(rows.features.items()):
        if kind_of(feature) == CLASS:
            codes = table[name].cast(pa.int64()).fill_null(-1).to_numpy()
            names = list(feature.names)
            whole.refuse(codes >= len(names), f"a label that is none of the {len(names)} classes", name)
            hidden = pa.array(codes, mask=codes < 0)
            table = table.set_column(index, name, pa.array(names, pa.string()).take(hidden))
    return replace(whole, rows=table)


def is_unlabelled(table: Table, label: str) -> bool:
    """Whether no row of a split has its label, as in test splits whose labels are secret."""
    column = table.rows[label]
    if column.null_count == len(column):
        return True
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return bool(np.all(column.to_numpy() == -1))
    return False
