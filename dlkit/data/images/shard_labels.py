"""The classes of the rows of Parquet shards, each of which may number them in its own way: they meet by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.class_spelling import quoted
from dlkit.errors import DlkitError

_MOST_CLASSES = 1_000_000  # of numbers without names: more are no classes


@dataclass(frozen=True)
class ShardLabels:
    """The classes of the rows of one shard, -1 where there is none.

    Args:
        file: the shard.
        numbers: of each row, (N,).
        names: what the numbers stand for; None where the shard does not say.
        text: whether the shard has the names instead of numbers.
    """

    file: Path
    numbers: NDArray[np.int64]
    names: tuple[str, ...] | None
    text: bool = False


def labels_of(file: Path, column: Any, metadata: Mapping[bytes, bytes] | None, name: str) -> ShardLabels:
    """The labels of a shard, -1 where there is none. Raises DlkitError where they can be no classes."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        encoded = column.combine_chunks().dictionary_encode()
        numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return ShardLabels(file, numbers, tuple(encoded.dictionary.to_pylist()), text=True)
    if pa.types.is_floating(kind):
        values = column.cast(pa.float64()).fill_null(-1).to_numpy()
        broken = ~((values == np.floor(values)) & (np.abs(values) < 2**53))
        if broken.any():
            row = int(broken.argmax())
            raise DlkitError(
                f"{file}: label {values[row]} in row {row + 1}, but a class is a whole number or text",
                "regression, the prediction of a number, is not supported",
            )
        column = pa.chunked_array([pa.array(values.astype(np.int64))])
    elif not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise DlkitError(f"{file}: labels are {kind}; text, whole numbers or booleans are needed")
    numbers = column.cast(pa.int64()).fill_null(-1).to_numpy()
    names = _class_names(metadata, name)
    return ShardLabels(file, np.maximum(numbers, -1), names or None)


def classes_of(
    labels: Mapping[str, Sequence[ShardLabels]], remarks: list[str], complete: bool = True
) -> tuple[str, ...]:
    """The names of all classes, in the order in which the training shards list them; those of text sorted.

    Unless the training shards have to be `complete`, the others count as well.
    """
    every = [column for columns in labels.values() for column in columns if len(column.numbers)]
    named = [column for column in every if column.names is not None]
    bare = [column for column in every if column.names is None]
    if not named:
        most = int(max(column.numbers.max() for column in bare)) + 1
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


def places_of(column: ShardLabels, classes: tuple[str, ...], number: Mapping[str, int]) -> NDArray[np.int64]:
    """The class of every row of a shard, (N,), as its place in `classes`."""
    names = classes if column.names is None else column.names
    if column.numbers.max(initial=-1) >= len(names):
        raise DlkitError(f"{column.file}: label {column.numbers.max()}, but only {len(names)} names of classes")
    of_number = np.array([number.get(name, -1) for name in names], dtype=np.int64)
    places = of_number[column.numbers]
    if (places < 0).any():
        row = int((places < 0).argmax())
        raise DlkitError(
            f"{column.file}: the class {quoted(names[column.numbers[row]])} is not in train",
            f"classes: {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}",
        )
    return places


def _class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> tuple[str, ...]:
    """The names that the hub writes into a shard, if it did: a list, or a mapping from numbers."""
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        return tuple(str(name) for name in names)
    except (KeyError, ValueError, TypeError):
        return ()
