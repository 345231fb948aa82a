"""One way to read lines."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.lines import decode_lines


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\r", ["a\r"]),
        (b"a\fb\vc\x1cd\n", ["a\fb\vc\x1cd"]),
        ("a\u2028b\u2029c\x85d\n".encode(), ["a\u2028b\u2029c\x85d"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
    ],
)
def test_a_line_ends_at_a_line_feed_and_nowhere_else(data: bytes, expected: list[str]) -> None:
    assert list(decode_lines(io.BytesIO(data))) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n\r\ufeff", exclude_categories=["Cs"]))))
def test_lines_come_back(texts: list[str]) -> None:
    assert list(decode_lines(io.BytesIO("".join(f"{text}\n" for text in texts).encode()))) == texts


@pytest.mark.parametrize(("data", "place"), [(b"\xff", 0), (b"ab\ncd\xff\n", 5), (b"\xef\xbb\xbfa\xff\n", 4)])
def test_the_first_byte_that_is_no_utf_8_is_told(data: bytes, place: int) -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        list(decode_lines(io.BytesIO(data)))
    assert caught.value.start == place
    assert data[place] == 0xFF
