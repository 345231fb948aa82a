"""Running text: CPython's language reference, and files of the user's own."""

from __future__ import annotations

import sys
import typing
from pathlib import Path
from typing import Any

import pytest

from dlkit.data.text import pydoc as pydoc_module
from dlkit.data.text.corpus import Text
from dlkit.data.text.plain_text import plain_text
from dlkit.data.text.pydoc import pydoc
from dlkit.errors import DlkitError, RequestError


def test_every_topic_is_in_one_split() -> None:
    topics = pytest.importorskip("pydoc_data.topics").topics
    splits = {name: part.read() for name, part in pydoc().splits.items()}
    assert list(splits) == ["train", "val", "test"]
    for name, content in topics.items():
        assert content in splits[pydoc_module.topic_split(name)]
    separators = len("\n\n\n") * (len(topics) - 3)
    assert sum(map(len, splits.values())) == sum(map(len, topics.values())) + separators
    sizes = {name: len(content) / sum(map(len, splits.values())) for name, content in splits.items()}
    assert 0.85 < sizes["train"] < 0.95
    assert min(sizes["val"], sizes["test"]) > 0.02


def test_a_topics_split_is_pinned() -> None:
    held = {name: pydoc_module.topic_split(name) for name in ("assert", "types", "while", "del", "class")}
    assert held == {"assert": "train", "types": "train", "while": "train", "del": "val", "class": "test"}


def test_a_python_without_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DlkitError, match=r"no module pydoc_data\.topics"):
        pydoc()


def read(**keys: Any) -> dict[str, str]:
    return {name: part.read() for name, part in plain_text(**keys).splits.items()}


def test_one_file_is_cut_in_order(tmp_path: Path) -> None:
    file = tmp_path / "t"
    whole = "".join(chr(0x400 + i) for i in range(99)) + "\r\n"  # 200 bytes
    file.write_bytes(whole.encode())
    assert read(path=file) == {"train": whole[:90], "val": whole[90:]}
    assert read(path=file, validation=0.2, test=0.3) == {"train": whole[:50], "val": whole[50:70], "test": whole[70:]}
    assert read(path=file, validation=0.0) == {"train": whole}


@pytest.mark.parametrize("share", [k / 23 for k in range(1, 22)])
def test_no_character_is_cut_in_two(tmp_path: Path, share: float) -> None:
    file = tmp_path / "t"
    whole = "a\N{EURO SIGN}\N{GRINNING FACE}é" * 3
    file.write_text(whole, encoding="utf-8")
    splits = read(path=file, validation=share)
    assert "".join(splits.values()) == whole
    size = len(whole.encode())
    assert 0 <= len(splits["val"].encode()) - round(size * share) <= 3


def test_the_files_of_a_folder_are_joined_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", ".c.txt", "d.md"):
        (tmp_path / name).write_text(name)
    assert read(path=tmp_path, validation=0.0) == {"train": "a.txt\nb.txt"}
    assert "".join(read(path=tmp_path, validation=0.4).values()) == "a.txt\nb.txt"


@pytest.mark.parametrize("size", [5, 7, 64, 1000])
def test_pieces_are_cut_behind_lines_or_between_characters(size: int) -> None:
    whole = "one\ntwo lines\n" + "\N{GRINNING FACE}é" * 40 + "\nend"
    pieces = list(Text.of(whole).pieces(size))
    assert "".join(pieces) == whole
    assert max(len(piece.encode()) for piece in pieces) <= size


def test_texts_that_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "t"
    with pytest.raises(DlkitError, match=r"cannot read .*No such file"):
        plain_text(path=file)
    with pytest.raises(DlkitError, match=r"no \*\.txt files"):
        plain_text(path=tmp_path)
    file.write_bytes(b"")
    with pytest.raises(DlkitError, match="is empty"):
        plain_text(path=file)
    file.write_bytes(b"x" * 90_000 + b"caf\xe9 au lait")
    with pytest.raises(DlkitError, match="byte 0xe9 at offset 90003"):
        plain_text(path=file, validation=0.0).splits["train"].read()
    file.write_bytes(b"abc")
    with pytest.raises(DlkitError, match="none is left for 'val'"):
        plain_text(path=file)
    with pytest.raises(RequestError, match="leave nothing"):
        plain_text(path=file, validation=0.5, test=0.5)


def test_annotations_resolve() -> None:
    assert {"path", "validation", "test"} <= set(typing.get_type_hints(plain_text, include_extras=True))


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("abc\n" * 30)
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf" + b"abc\n" * 30)
    plain, marked = (plain_text(path=tmp_path / f"{name}.txt").splits for name in ("plain", "marked"))
    assert {split: part.read() for split, part in marked.items()} == {s: part.read() for s, part in plain.items()}
    assert "\ufeff" not in "".join(part.read() for part in plain_text(path=tmp_path).splits.values())
    (tmp_path / "wide.txt").write_text("abc\n", encoding="utf-16")
    with pytest.raises(DlkitError, match=r"wide.txt is UTF-16, not UTF-8"):
        plain_text(path=tmp_path / "wide.txt")


def test_files_that_are_splits_are_not_joined_to_one_text(tmp_path: Path) -> None:
    for name in ("wiki.train.txt", "wiki.Valid.txt", "wiki.test.txt"):
        (tmp_path / name).write_text("some text\n")
    with pytest.raises(DlkitError, match=r"Valid\.txt, wiki\.test\.txt, wiki\.train\.txt are splits, not one text"):
        plain_text(path=tmp_path)
