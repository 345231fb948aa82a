"""One way to read lines."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.lines import batched_as_they_come, decode_lines, lines_as_they_come


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


@settings(max_examples=100)
@given(st.lists(st.text(st.characters(exclude_characters="\n\r\ufeff", exclude_categories=["Cs"]))))
def test_lines_come_back(texts: list[str]) -> None:
    assert list(decode_lines(io.BytesIO("".join(f"{text}\n" for text in texts).encode()))) == texts


@pytest.mark.parametrize(("data", "place"), [(b"\xff", 0), (b"ab\ncd\xff\n", 5), (b"\xef\xbb\xbfa\xff\n", 4)])
def test_the_first_byte_that_is_no_utf_8_is_told(data: bytes, place: int) -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        list(decode_lines(io.BytesIO(data)))
    assert caught.value.start == place
    assert data[place] == 0xFF


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"bcd"])).map(b"".join))
@settings(max_examples=50)
def test_lines_that_come_through_a_pipe_are_the_same_lines(data: bytes) -> None:
    expected = list(decode_lines(io.BytesIO(data)))
    end, begin = os.pipe()
    os.write(begin, data)
    os.close(begin)
    with open(end, "rb") as pipe:  # noqa: PTH123
        piped = list(lines_as_they_come(pipe))
    assert [line.decode() for line in piped if line is not None] == expected
    assert [line.decode() for line in lines_as_they_come(io.BytesIO(data)) if line is not None] == expected


def test_a_pause_shows_before_the_next_line() -> None:
    end, begin = os.pipe()
    with open(end, "rb") as pipe:  # noqa: PTH123
        os.write(begin, b"a\nb\nc")
        lines = lines_as_they_come(pipe, 0.01)
        assert [next(lines), next(lines), next(lines)] == [b"a", b"b", None]
        os.write(begin, b"d\n")
        assert next(lines) == b"cd"
        os.close(begin)
        assert list(lines) == []


def test_batches_end_at_a_pause() -> None:
    items = ["a", "b", "c", None, "d", "e", None, "f"]
    assert list(batched_as_they_come(items, 2)) == [["a", "b"], ["c"], ["d", "e"], [], ["f"]]
    assert list(batched_as_they_come([], 2)) == []
