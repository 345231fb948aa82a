"""Ways to run dlkit: here, in this process, or as a program of its own."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        (record,) = self.records
        return record

    @property
    def probabilities(self) -> list[dict[str, float]]:
        """Of each prediction: from a class to its probability."""
        return [{entry["label"]: entry["probability"] for entry in record["top"]} for record in self.records]


Here = Callable[..., Result]


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """Run in this process, which has torch in memory already."""

    def call(*arguments: str) -> Result:
        capfd.readouterr()
        code = run(arguments)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], None]:
    """Let standard input hold this text, or these bytes."""

    def put(data: str | bytes) -> None:
        content = data.encode() if isinstance(data, str) else data
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return put


@pytest.fixture
def piped(here: Here, stdin: Callable[[str | bytes], None]) -> Callable[..., Result]:
    """piped(b"...", "predict", RUN) runs with this on standard input."""

    def call(data: str | bytes, *arguments: str) -> Result:
        stdin(data)
        return here(*arguments)

    return call


@pytest.fixture
def imported(here: Here) -> Callable[..., Path]:
    """imported(run, FILE, ...) makes a run of a model that others trained."""

    def call(path: Path, *arguments: str) -> Path:
        result = here("import", *arguments, "--run-dir", str(path))
        assert result.code == 0, result.err
        assert result.record["run"] == str(path)
        return path

    return call


@pytest.fixture
def program() -> Callable[..., Result]:
    """Run as a program of its own."""

    def call(*arguments: str, **options: Any) -> Result:
        environment = {**os.environ, **options.pop("env", {})}
        command = [sys.executable, "-m", "dlkit", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of digits-mlp with validation data. Not to be changed by a test."""
    path = tmp_path_factory.mktemp("trained") / "digits-mlp-1"
    changes = ["train.epochs=4", "data.validation=0.1", "train.checkpoint_every=1 epoch"]
    assert run(["train", "digits-mlp", *changes, "--run-dir", str(path), "-q"]) == 0
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is an empty one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are empty, for tests of what is written beside them."""
    monkeypatch.setattr("dlkit.sweep.figures.save_figure", lambda figure, target: target.write_text("<svg></svg>"))


class Terminal(io.TextIOWrapper):
    """A stand-in for a terminal, which keeps what is written."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[list[str], int], str]:
    """shown(arguments, width): what a command prints on a terminal of so many columns."""

    def show(arguments: list[str], width: int) -> str:
        written = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            patch.setattr(sys, "stdout", Terminal(written, encoding="utf-8"))
            assert run(arguments) == 0, capfd.readouterr().err
            sys.stdout.flush()
            return re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue().decode())

    return show


@pytest.fixture(scope="session")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny GPT with two checkpoints. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("narrow") / "gpt"
    small = ["model.layers=2", "model.width=16", "model.heads=8", "tokenizer.vocab_size=300", "data.context=64"]
    changes = ["~train.epochs", "train.steps=4", "train.checkpoint_every=2 steps", "train.keep_checkpoints=true"]
    assert run(["train", "pydoc-gpt", *small, *changes, "--run-dir", str(folder), "-q"]) == 0
    return folder
