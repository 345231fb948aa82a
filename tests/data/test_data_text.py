"""Text: the language reference of CPython, and one's own files."""

from __future__ import annotations

import sys
import typing
from pathlib import Path

import pytest

from dlkit.data import pydoc as pydoc_module
from dlkit.data.pydoc import pydoc
from dlkit.data.text import text
from dlkit.errors import DlkitError, RequestError


def test_every_topic_is_in_one_split() -> None:
    topics = pytest.importorskip("pydoc_data.topics").topics
    splits = pydoc()
    assert list(splits) == ["train", "val", "test"]
    for name, content in topics.items():
        assert content in splits[pydoc_module.split_of(name)]
    separators = len("\n\n\n") * (len(topics) - 3)
    assert sum(map(len, splits.values())) == sum(map(len, topics.values())) + separators
    sizes = {name: len(content) / sum(map(len, splits.values())) for name, content in splits.items()}
    assert 0.85 < sizes["train"] < 0.95
    assert min(sizes["val"], sizes["test"]) > 0.02


def test_a_topics_split_is_pinned() -> None:
    held = {name: pydoc_module.split_of(name) for name in ("assert", "types", "while", "del", "class")}
    assert held == {"assert": "train", "types": "train", "while": "train", "del": "val", "class": "test"}


def test_a_python_without_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DlkitError, match=r"no module pydoc_data\.topics"):
        pydoc()


def test_one_file_is_cut_in_order(tmp_path: Path) -> None:
    file = tmp_path / "t"
    whole = "".join(chr(0x400 + i) for i in range(99)) + "\r\n"
    file.write_bytes(whole.encode())
    assert text(path=str(file)) == {"train": whole[:91], "val": whole[91:]}
    assert text(path=str(file), val=0.2, test=0.3) == {"train": whole[:51], "val": whole[51:71], "test": whole[71:]}
    assert text(path=str(file), val=0.0) == {"train": whole}


def test_the_files_of_a_folder_are_joined_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", ".c.txt", "d.md"):
        (tmp_path / name).write_text(name)
    assert text(path=str(tmp_path), val=0.0) == {"train": "a.txt\nb.txt"}


def test_texts_that_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "t"
    with pytest.raises(DlkitError, match=r"cannot read .*No such file"):
        text(path=str(file))
    with pytest.raises(DlkitError, match=r"no \*\.txt files"):
        text(path=str(tmp_path))
    file.write_bytes(b"")
    with pytest.raises(DlkitError, match="is empty"):
        text(path=str(file))
    file.write_bytes(b"caf\xe9 au lait")
    with pytest.raises(DlkitError, match="byte 0xe9 at offset 3"):
        text(path=str(file))
    file.write_bytes(b"abc")
    with pytest.raises(DlkitError, match="none is left for 'val'"):
        text(path=str(file))
    with pytest.raises(RequestError, match="leave nothing"):
        text(path=str(file), val=0.5, test=0.5)


def test_annotations_resolve() -> None:
    assert {"path", "val", "test"} <= set(typing.get_type_hints(text, include_extras=True))
