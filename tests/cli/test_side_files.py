"""Whoever reads a command's records may stop (`| head -1`): the files that it was asked for are whole by then."""

from __future__ import annotations

import io
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlkit.cli.app import run
from dlkit.cli.download import command as download

TINY = ["model.layers=1", "model.width=16", "model.heads=2", "tokenizer={name: byte}", "data.context=64"]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT with three checkpoints."""
    folder = tmp_path_factory.mktemp("side")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 400)
    steps = ["train.steps=3", "train.checkpoint_every=1 steps", "train.keep_checkpoints=true", "train.compile=off"]
    read = [f"data.path={folder / 'text.txt'}", "data.validation=0.1"]
    assert run(["train", "text-gpt", *TINY, *read, *steps, "--run-dir", str(folder / "gpt"), "-q"]) == 0
    return folder / "gpt"


class Closed(io.TextIOBase):
    """Standard output that nobody reads any more; it notes which files were there when it was first written to."""

    def __init__(self, expected: list[Path]) -> None:
        self.expected = expected
        self.there: list[Path] | None = None

    @property
    def buffer(self) -> Closed:
        return self

    def write(self, text: str | bytes) -> int:
        if self.there is None:
            self.there = [path for path in self.expected if path.exists() and path.stat().st_size]
        raise BrokenPipeError


def require_whole(path: Path) -> None:
    text = path.suffix in (".html", ".json", ".svg", ".yaml", ".jsonl")
    content = path.read_text(encoding="utf-8") if text else ""
    if path.suffix == ".html":
        assert content.rstrip().endswith("</html>")
    elif path.suffix == ".json":
        json.loads(content)
    elif path.suffix == ".svg":
        ET.fromstring(content)
    elif path.suffix in (".png", ".gif"):
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            assert arrays.files


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("inspect-attention GPT text --html a.html --png a.png --svg a.svg --npz a.npz", "a.html a.png a.svg a.npz"),
        ("inspect-attention GPT text --html a.html -q", "a.html"),
        ("inspect-attention GPT --steps --repeats 1 --png a.pdf --svg a.svg", "a.pdf a.svg"),
        ("entropy --p 0.4,0.6 --plot a.svg", "a.svg"),
        ("entropy TEXT --order 2 --plot a.png", "a.png"),
        ("entropy TEXT --model GPT --tokens --surprisal a.html", "a.html"),
        ("entropy TEXT --model GPT --surprisal a.html -q", "a.html"),
        ("eval RUN --confusion a.svg", "a.svg"),
        ("eval RUN --ood noise --histogram a.svg --confusion b.svg", "a.svg b.svg"),
        (
            "compare-optimizers ravine --optimizers sgd,adam --lr 1e-3,1e-2,0.1 --steps 5 --out race --animate a.gif",
            "race/summary.json race/report.html race/surface.svg race/curves.png race/runs.jsonl a.gif",
        ),
        (
            "train digits-mlp ~train.epochs train.steps=3 --run-dir run",
            "run/summary.json run/curves.svg run/recipe.yaml",
        ),
        ("export GPT hub", "hub/config.json hub/model.safetensors"),
        ("compress TEXT --prequential -o a.dlk", "a.dlk"),
        ("recipes copy digits-mlp mine.yaml", "mine.yaml"),
    ],
)
def test_files_are_whole_before_anything_is_printed(
    command: str, files: str, gpt: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 4)
    places = {"GPT": str(gpt), "RUN": str(trained), "TEXT": "text.txt", "text": "the cat sat"}
    expected = [tmp_path / name for name in files.split()]
    closed = Closed(expected)
    monkeypatch.setattr(sys, "stdout", closed)
    code = run([places.get(part, part) for part in command.split()])
    monkeypatch.undo()
    assert closed.there == expected
    assert code == 141
    for path in expected:
        require_whole(path)


def test_every_data_set_is_there_before_one_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, told = Closed([]), list[str]()
    monkeypatch.setattr(download, "_embedded", lambda dataset: told.append(dataset.name) or {"path": dataset.name})
    monkeypatch.setattr(sys, "stdout", closed)
    code = run(["download", "digits", "pydoc", "--data-dir", str(tmp_path)])
    monkeypatch.undo()
    assert (code, told) == (141, ["digits", "pydoc"])


def test_a_model_without_classes_has_no_confusion_matrix(here: Any, gpt: Path, tmp_path: Path) -> None:
    result = here("eval", str(gpt), "--confusion", str(tmp_path / "matrix.svg"))
    assert result.code == 2
    assert result.err.splitlines() == [
        f"error: --confusion: {gpt} tells no classes apart",
        "hint: leave --confusion out",
    ]
    assert not any(tmp_path.iterdir())
