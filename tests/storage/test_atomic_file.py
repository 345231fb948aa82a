"""Files that are whole or not there: after errors and kills, under links, and where nothing can be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.errors import DlkitError
from dlkit.storage.atomic_file import atomic_file, unfinished_files, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_written_with_the_usual_permissions_and_can_be_read_meanwhile(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    with atomic_file(tmp_path / "a") as file:
        file.write(b"12345")
        file.seek(1)
        assert file.read(2) == b"23"
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"12345"
    assert (tmp_path / "a").stat().st_mode == usual.stat().st_mode
    write_text(tmp_path / "a", "é\n")
    assert (tmp_path / "a").read_bytes() == "é\n".encode()
    assert names(tmp_path) == ["a", "usual"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BrokenPipeError])
def test_what_was_there_stays_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a"
    target.write_text("before")

    def write() -> None:
        with atomic_file(target) as file:
            file.write(b"after")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "before"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / "a").write_text("before")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DlkitError, match=r"^cannot write .*/a: No space left on device$"):
        write_text(tmp_path / "a", "after")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "before"
    assert names(tmp_path) == ["a"]


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(
    tmp_path: Path, killed: Callable[[int, Callable[[], object]], bool]
) -> None:
    target, changes = tmp_path / "a", 0
    target.write_text("before")
    while killed(changes, lambda: write_text(target, "after")):
        assert target.read_text() in ("before", "after")
        assert {*tmp_path.iterdir()} == {target, *unfinished_files(target)}
        target.write_text("before")
        changes += 1
    assert changes >= 3  # the file synced, renamed, its folder synced
    assert target.read_text() == "after"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "a").read_text() == "x"
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    write_text(tmp_path / "circle", "y")
    assert (tmp_path / "circle").read_text() == "y"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is not an ordinary file"),
        (lambda path: os.mkfifo(path), "is not an ordinary file"),
        (lambda path: path.with_name("other").touch(), ""),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    make(tmp_path / "a")
    if message:
        with pytest.raises(DlkitError, match=message):
            write_text(tmp_path / "a", "x")
    else:
        with pytest.raises(DlkitError, match=r"cannot write .*other/a: Not a directory"):
            write_text(tmp_path / "other" / "a", "x")
        with pytest.raises(DlkitError, match=r"cannot write .*none/a: No such file or directory"):
            write_text(tmp_path / "none" / "a", "x")
