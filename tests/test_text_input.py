"""Text from files, pipes and standard input: bounded, in UTF-8, with or without a byte-order mark."""

from __future__ import annotations

import codecs
import io
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlkit import text_input
from dlkit.app.required_files import require_data, require_weights
from dlkit.errors import RequestError
from dlkit.recipe import Recipe, load, strict_yaml
from dlkit.storage import run_reference

RECIPE = (
    "task: image-classification\ndata: {name: digits}\nmodel: {name: mlp}\noptimizer: {name: sgd, lr: 0.1}\n"
    "train: {epochs: 1}\n"
)


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_byte_order_mark_and_carriage_returns_change_no_recipe(tmp_path: Path) -> None:
    for name, data in (
        ("plain", RECIPE.encode()),
        ("marked", codecs.BOM_UTF8 + RECIPE.encode()),
        ("windows", codecs.BOM_UTF8 + RECIPE.replace("\n", "\r\n").encode()),
    ):
        (tmp_path / f"{name}.yaml").write_bytes(data)
    plain, *others = (load(str(tmp_path / f"{name}.yaml")).values for name in ("plain", "marked", "windows"))
    assert all(values == plain for values in others)


@pytest.mark.parametrize("form", ["{path}", '{{"run": "{path}"}}'])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_run_is_read_from_any_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, mark: bytes) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    feed(monkeypatch, mark + form.format(path=tmp_path).encode() + b"\r\n")
    assert run_reference.resolve_run("-").path == tmp_path


@pytest.mark.parametrize(
    "data",
    [
        b"y" * 3_000_000,
        b'{"run": ' + b"[" * 200_000,
        b'{"run": ' + b"9" * 5000 + b"}",
        b'{"run": 3}',
        b"\n",
        "runs/x\n".encode("utf-16"),
        b"a\0b\n",
    ],
)
def test_what_is_no_run_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    feed(monkeypatch, data)
    with pytest.raises(RequestError) as error:
        run_reference.resolve_run("-")
    assert "standard input" in error.value.message
    assert len(error.value.message) < 200
    assert error.value.hint


def test_an_endless_recipe_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            buffer[:] = b"y\n" * (len(buffer) // 2) + b"y" * (len(buffer) % 2)
            return len(buffer)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    assert "larger than" in strict_yaml.read_yaml(None, "stdin").problems[0].message


def test_only_ordinary_files_are_read(tmp_path: Path) -> None:
    """Nobody writes to these: to open them would take for ever."""
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe.yaml", Path(os.devnull), tmp_path / "socket", tmp_path):
            with pytest.raises(OSError, match=r"it is a (pipe|device|socket), not a file|directory"):
                text_input.read_start(path, 10)


def test_a_pipe_that_the_shell_opened_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `dlkit recipes check <(command)`; its paths are about the place where it is used."""
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "wb") as file:
        file.write(RECIPE.replace("{name: digits}", "{name: images, path: pictures}").encode())
        file.close()
        recipe = load(f"/dev/fd/{reader}")
    assert recipe.name == "stdin"
    assert recipe.values["data"]["path"] == str(tmp_path / "pictures")


@pytest.mark.parametrize(("key", "check"), [("data.path", require_data), ("model.weights", require_weights)])
def test_a_recipe_that_names_a_pipe_is_refused_at_once(
    tmp_path: Path, key: str, check: Callable[[Recipe], None]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    recipe = load("images-probe", [f"{key}={tmp_path / 'pipe'}"])
    with pytest.raises(RequestError, match="is a pipe, neither a file nor a folder"):
        check(recipe)


def test_a_path_that_no_recipe_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"d\xf0r")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(RequestError, match=r"data.path: .* is not UTF-8"):
        load("images-fast", ["data.path=photos"])
