"""Labels of Parquet shards. Each shard may number the classes in its own way, so they are matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.class_spelling import quoted_name
from dlkit.data.label_values import coded_values, whole_labels
from dlkit.errors import DlkitError
from dlkit.strict_json import parse_json

_MOST_CLASSES = 1_000_000  # unnamed integers beyond that are not classes


@dataclass(frozen=True)
class ShardLabels:
    """The labels of one shard.

    Args:
        file: the shard.
        indices: class index of each row in the shard's own numbering, (N,); -1 for a missing label.
        names: names of the indices; None if the shard has none.
        text: whether the labels are text instead of integers.
    """

    file: Path
    indices: NDArray[np.int32] | NDArray[np.int64]
    names: tuple[str, ...] | None
    text: bool = False


def read_shard_labels(file: Path, column: Any, metadata: Mapping[bytes, bytes] | None, name: str) -> ShardLabels:
    """The labels of a shard. Raises DlkitError if they cannot be classes."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        names, indices = coded_values(column)
        return ShardLabels(file, indices, tuple(names.to_pylist()), text=True)
    if pa.types.is_floating(kind):
        values = column.cast(pa.float64()).fill_null(-1).to_numpy()
        whole = whole_labels(values, lambda row: f"{file}: label {values[row]} in row {row + 1}")
        column = pa.chunked_array([pa.array(whole)])
    elif not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise DlkitError(f"{file}: labels are {kind}; text, whole numbers or booleans are needed")
    indices = column.cast(pa.int64()).fill_null(-1).to_numpy()
    names = _class_names(metadata, name)
    return ShardLabels(file, np.maximum(indices, -1), names or None)


def merge_classes(
    labels: Mapping[str, Sequence[ShardLabels]], remarks: list[str], complete: bool = True
) -> tuple[str, ...]:
    """The names of all classes, in the order in which the training shards list them; text labels are sorted.

    Unless the training shards must be `complete`, those of the other shards are included.
    """
    every = [column for columns in labels.values() for column in columns if len(column.indices)]
    named = [column for column in every if column.names is not None]
    bare = [column for column in every if column.names is None]
    if not named:
        most = int(max(column.indices.max() for column in bare)) + 1
        if most > _MOST_CLASSES:
            raise DlkitError(f"label {most - 1} without names: a class is a number from 0 on", "number the classes")
        return tuple(str(number) for number in range(most))
    if bare and (any(column.text for column in named) or len({column.names for column in named}) > 1):
        raise DlkitError(
            f"{bare[0].file} has numbers that it does not name, and other shards do not have one list of names",
            "write the names into every shard, as the hub does, or text",
        )
    if bare:
        remarks.append(f"{bare[0].file} does not name its classes: taken as numbered in {named[0].file}")
    training = [column for column in (labels["train"] if complete else every) if column.names is not None]
    lists = [name for column in training if not column.text for name in column.names or ()]
    texts = sorted({name for column in training if column.text for name in column.names or ()})
    return tuple(dict.fromkeys((*lists, *texts))) or named[0].names or ()


def shard_class_indices(
    column: ShardLabels, classes: tuple[str, ...], index_of: Mapping[str, int]
) -> NDArray[np.int64]:
    """Index in `classes` of each row's class, (N,). Raises DlkitError for a class that is not among them."""
    names = classes if column.names is None else column.names
    if column.indices.max(initial=-1) >= len(names):
        raise DlkitError(f"{column.file}: label {column.indices.max()}, but only {len(names)} names of classes")
    translation = np.array([index_of.get(name, -1) for name in names], dtype=np.int64)
    indices = translation[column.indices]
    if (indices < 0).any():
        row = int((indices < 0).argmax())
        raise DlkitError(
            f"{column.file}: the class {quoted_name(names[column.indices[row]])} is not in train",
            f"classes: {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}",
        )
    return indices


def _class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> tuple[str, ...]:
    """The class names in the hub's metadata of a shard, a list or a mapping from numbers; empty if there are none."""
    try:
        names = parse_json((metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        return tuple(str(name) for name in names)
    except (KeyError, ValueError, TypeError):
        return ()
