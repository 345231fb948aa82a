"""Repeated random strings."""

from __future__ import annotations

import pytest

from dlkit.data.text.repeats import repeats
from dlkit.errors import RequestError


def test_strings_repeat_with_many_periods() -> None:
    splits = {name: part.read() for name, part in repeats(characters=12_800).splits.items()}
    assert [len(text) for text in splits.values()] == [12_800, 640, 640]
    periods: list[int] = []
    for start in range(0, 12_800, 128):
        block = splits["train"][start : start + 128]
        period = next(p for p in range(12, 25) if block == (block[:p] * 11)[:128])
        assert len(set(block[:period])) == period
        periods.append(period)
    assert set(periods) == set(range(12, 25))
    assert len({splits["train"][start : start + 12] for start in range(0, 12_800, 128)}) == 100
    assert splits["val"] != splits["test"] and splits["val"] not in splits["train"]
    assert repeats(characters=12_800).splits["train"].read() == splits["train"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"shortest": 25}, "more than longest"), ({"longest": 27}, "26 letters"), ({"length": 40}, "does not fit twice")],
)
def test_what_does_not_fit(keys: dict[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        repeats(**keys)
