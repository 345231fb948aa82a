"""The values of a column of labels, whichever kind of file it is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError


def coded_values(column: Any) -> tuple[Any, NDArray[np.int32]]:
    """The distinct values of a column of Arrow data, and the index of each row's value, (N,); -1 for a missing one."""
    import pyarrow as pa

    encoded = column.dictionary_encode()  # chunk by chunk, since all of a large column may not be in memory
    if encoded.num_chunks != 1:
        encoded = encoded.unify_dictionaries()
    if encoded.num_chunks < 2:
        encoded = encoded.combine_chunks()
        return encoded.dictionary, _codes(encoded)
    distinct = encoded.chunk(0).dictionary
    codes = np.concatenate([_codes(chunk) for chunk in encoded.chunks])
    del encoded
    pa.default_memory_pool().release_unused()  # which it keeps for itself otherwise
    return distinct, codes


def _codes(encoded: Any) -> NDArray[np.int32]:
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)


def whole_labels(values: NDArray[np.float64], where: Callable[[int], str]) -> NDArray[np.int64]:
    """Labels that are written as floating-point numbers, (N,), as integers.

    Raises DlkitError for a fraction, named by what `where` says of its row.
    """
    fractional = ~((values == np.floor(values)) & (np.abs(values) < 2**53))
    if fractional.any():
        raise DlkitError(
            f"{where(int(fractional.argmax()))}, but a class is a whole number or text",
            "to predict numbers from a table: dlkit train csv-regression data.path=FILE data.label=COLUMN",
        )
    return values.astype(np.int64)
