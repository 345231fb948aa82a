"""The page: weights come back within the stated error, in their share of it; no token breaks out of its element."""

from __future__ import annotations

import base64
import gc
import json
import re
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from dlkit.attention import page as pages
from dlkit.attention.page import quantize_matrix, thumbnail, write_page
from dlkit.errors import DlkitError
from tests.attention.page.page_examples import HOSTILE, attention, make


def script(text: str, name: str) -> str:
    found = re.search(rf'<script type="[a-z/]*" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found
    return found[1]


def decode(text: str, number: int, tokens: int, causal: bool) -> np.ndarray:
    """What the page's script does, in Python."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(script(text, f"w{number}"))), np.uint8).reshape(2, -1)
    values = (planes[0] + 256.0 * planes[1]) / json.loads(script(text, "data"))["coding"][number][0]
    columns = np.zeros((tokens, tokens))
    columns[np.triu_indices(tokens) if causal else tuple(np.indices((tokens, tokens)).reshape(2, -1))] = values
    return columns.T


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, 7, 49])
def test_every_weight_comes_back_within_the_stated_error(tmp_path: Path, tokens: int, causal: bool) -> None:
    page, weights = make(tokens, sides=2, causal=causal)
    target = tmp_path / "page.html"
    assert write_page(target, page, iter(weights)) == target.stat().st_size
    text = target.read_text("utf-8")
    coding = json.loads(script(text, "data"))["coding"]
    assert len(coding) == len(weights) == 12
    for number, matrix in enumerate(weights):
        error = np.abs(decode(text, number, tokens, causal) - matrix).max()
        assert error <= coding[number][1] + 1e-7
        assert coding[number][1] <= 0.5 / coding[number][0] + 1e-7


@pytest.mark.parametrize("sharp", [0.05, 1.0, 8.0])
@pytest.mark.parametrize("start", [255, 1023, 65_535])
def test_a_head_fills_its_room_and_never_more(sharp: float, start: int) -> None:
    weights = attention(128, sharp=sharp)
    for room in (8_000, 14_000):
        encoded = quantize_matrix(weights, False, room, start)
        assert len(encoded.data) <= room
        # a step twice as fine would not fit, unless there is no finer one
        finer = pages._deflated(np.ascontiguousarray(weights.T).ravel(), min(2 * encoded.levels, pages.FINEST))
        assert len(finer) > room or encoded.levels == pages.FINEST


def test_a_head_without_enough_room_has_the_coarsest_steps() -> None:
    assert quantize_matrix(attention(64), False, 10, 1023).levels == pages.COARSEST


def test_thumbnails_show_the_maximum_of_each_block() -> None:
    weights = np.zeros((200, 200), np.float32)
    weights[150, 3] = 0.5
    weights[0, 199] = 0.125
    small = thumbnail(weights)
    assert small.shape == (48, 48)
    assert np.argwhere(small).tolist() == [[0, 47], [36, 0]]
    assert small[36, 0] == 255
    assert small[0, 47] == 128  # 255 times the root of a quarter
    assert np.array_equal(thumbnail(np.eye(3, dtype=np.float32)), 255 * np.eye(3))


def test_matrices_are_taken_one_at_a_time(tmp_path: Path) -> None:
    page, weights = make(5)
    alive: list[weakref.ref[np.ndarray]] = []

    def given() -> Iterator[np.ndarray]:
        for number in range(len(weights)):
            gc.collect()
            assert sum(reference() is not None for reference in alive) <= 1
            matrix = weights[number].copy()
            alive.append(weakref.ref(matrix))
            yield matrix
            del matrix

    write_page(tmp_path / "page.html", page, given())


class _Reader(HTMLParser):
    """Elements with their text, as an HTML parser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_no_text_breaks_out_of_its_element(tmp_path: Path) -> None:
    page, weights = make(len(HOSTILE))
    plain = tmp_path / "plain.html"
    write_page(plain, page, weights)
    bad = "".join(HOSTILE)
    hostile = tmp_path / "hostile.html"
    write_page(hostile, replace(page, tokens=HOSTILE, title=bad, sides=[bad], notes={bad: bad}), weights)
    readers = []
    for path in (plain, hostile):
        readers.append(_Reader())
        readers[-1].feed(path.read_text("utf-8"))
    assert readers[0].tags == readers[1].tags
    text = hostile.read_text("utf-8")
    assert "alert(1)<" not in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u200e\u200f\u2028\u202a-\u202e\ud800-\udfff]", text)
    tokens = json.loads(script(text, "data"))["tokens"]
    assert ["".join(p if isinstance(p, str) else p[1] for p in token) for token in tokens] == HOSTILE


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page, weights = make()
    write_page(tmp_path / "page.html", page, weights)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert re.findall(r"https?://[^\"'\s)]*", text) == ["http://www.w3.org/2000/svg"] * text.count("www.w3.org")
    reader = _Reader()
    reader.feed(text)
    assert not [tag for tag, attributes in reader.tags if "src" in attributes or "href" in attributes or tag == "link"]
    assert "default-src 'none'" in text


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    page, weights = make()
    target = tmp_path / "page.html"
    target.write_text("before")
    with pytest.raises(ValueError, match="5 matrices for 6 heads"):
        write_page(target, page, weights[:5])
    with pytest.raises(ValueError, match=r"matrix 1 of 6 is \(6, 6\), for 7 tokens"):
        write_page(target, page, weights[:, :6, :6])
    with pytest.raises(ValueError, match="matrix 7 of 6"):
        write_page(target, page, [*weights, weights[0]])
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    page, weights = make()
    with pytest.raises(DlkitError, match=r"cannot write .*No such file or directory"):
        write_page(tmp_path / "no" / "page.html", page, weights)
    with pytest.raises(DlkitError, match="not an ordinary file"):
        write_page(tmp_path, page, weights)
