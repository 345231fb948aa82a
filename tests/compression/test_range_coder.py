"""Range coding: symbols come back, at the length that the documented distribution says."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from dlkit.compression.range_coder import UNITS, CodeError, RangeDecoder, RangeEncoder
from dlkit.errors import DlkitError


def case(seed: int, n: int, v: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = np.floor(rng.dirichlet(np.full(v, 0.1), (steps, n)) * UNITS).astype(np.float32)
    symbols = rng.integers(0, v, (steps, n)).astype(np.int32)  # improbable ones too, of weight 0 even
    return weights, symbols


@pytest.mark.parametrize(("n", "v", "steps"), [(1, 2, 1), (3, 2, 50), (5, 257, 40), (2, 50_257, 3), (64, 300, 10)])
def test_symbols_come_back_at_the_stated_length(n: int, v: int, steps: int) -> None:
    weights, symbols = case(n, n, v, steps)
    encoder = RangeEncoder()
    for w, s in zip(weights, symbols, strict=True):
        encoder.put(s, w)
    message = encoder.finish()
    decoder = RangeDecoder(message)
    for w, s in zip(weights, symbols, strict=True):
        assert decoder.take(w).tolist() == s.tolist()
    # the formula of the module's docstring, in float64
    w = weights.astype(np.float64)
    sums = np.concatenate((np.zeros((steps, n, 1)), w.cumsum(-1)), -1)
    bounds = np.floor((UNITS - v) * sums / sums[..., -1:]) + np.arange(v + 1)
    p = np.take_along_axis(np.diff(bounds, axis=-1), symbols[..., None].astype(np.int64), -1) / UNITS
    bits = -np.log2(p).sum()
    assert p.min() >= 1 / UNITS
    assert bits / 8 - 1 <= len(message) + 3 * (len(message) % 4 > 0)  # zero bytes at the end are not stored
    assert len(message) <= bits * 1.0001 / 8 + 4.5


def test_no_symbols_take_no_bytes() -> None:
    assert RangeEncoder().finish() == b""


def test_a_wrong_message_decodes_to_other_symbols_or_is_an_error() -> None:
    weights, symbols = case(0, 4, 50, 30)
    encoder = RangeEncoder()
    for w, s in zip(weights, symbols, strict=True):
        encoder.put(s, w)
    other = RangeDecoder(encoder.finish())
    with contextlib.suppress(CodeError):
        assert any(other.take(w[:, ::-1].copy()).tolist() != s.tolist() for w, s in zip(weights, symbols, strict=True))


def test_weights_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(DlkitError, match="no distribution"):
        RangeEncoder().put(np.zeros(1, np.int32), np.full((1, 5), np.nan, np.float32))
