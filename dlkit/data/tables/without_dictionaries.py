"""Columns of Arrow data without dictionaries and views."""

from __future__ import annotations

import pyarrow as pa


def without_dictionaries(rows: pa.Table) -> pa.Table:
    """The same values without dictionaries and views, in which a Parquet file may hold them."""
    for index, field in enumerate(rows.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        kind = pa.large_string() if pa.types.is_string_view(kind) else kind
        if kind != field.type:
            rows = rows.set_column(index, field.name, rows[index].cast(kind))
    return rows
