"""Range coding (Martin 1979) of symbols under distributions with integer weights, by the library `constriction`.

A distribution is a row of V weights w, integers in float32 with a sum of about 2^24. The coder works with

    F_i = floor((2^24 - V) sum_(j<i) w_j / sum_j w_j) + i          P_i = (F_(i+1) - F_i) / 2^24 >= 2^-24

so that every symbol has a code, at a cost of log2(1 / (1 - V 2^-24)) bits per symbol: 0.0001 for a vocabulary of
1,000, 0.0043 for 50,000. The sums are integers below 2^24, which float32 represents exactly: given the weights, the
code is the same on every machine.

Shapes: N streams, V symbols.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError

UNITS = 1 << 24  # of probability


@functools.cache
def _library() -> tuple[Any, Any]:
    """constriction's streams and its family of distributions, imported on first use: code lengths do without it."""
    import constriction

    stream = cast(Any, constriction).stream  # it has no type annotations
    return stream, stream.model.Categorical(perfect=False)


class RangeEncoder:
    """Appends symbols to a message."""

    def __init__(self) -> None:
        stream, self._family = _library()
        self._coder = stream.queue.RangeEncoder()

    def put(self, symbols: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        """Encode symbols (N,) under weights (N, V). Raises DlkitError if these are NaN or infinite."""
        try:
            self._coder.encode(symbols, self._family, weights)
        except (AssertionError, ValueError) as error:
            raise DlkitError(f"the model gives no distribution: {error}", "was its training sound?") from error

    def finish(self) -> bytes:
        """The message, without zero bytes at its end."""
        return self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")


class RangeDecoder:
    """Decodes the symbols of a message, in the order in which they were encoded.

    Args:
        message: of `Encoder.finish`.
    """

    def __init__(self, message: bytes) -> None:
        words = np.frombuffer(message + bytes(-len(message) % 4), "<u4").astype(np.uint32)
        stream, self._family = _library()
        self._coder = stream.queue.RangeDecoder(words)

    def take(self, weights: NDArray[np.float32]) -> NDArray[np.int32]:
        """The next symbols, (N,), under weights (N, V).

        Raises:
            CodeError: no message under these weights continues like this.
        """
        try:
            return self._coder.decode(self._family, weights)
        except (AssertionError, ValueError) as error:
            raise CodeError(str(error)) from error


class CodeError(Exception):
    """The message was not encoded under these weights."""
