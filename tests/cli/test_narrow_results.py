"""What a command has done once is shown whole at any width: commands whose numbers differ from one call to the next."""

from __future__ import annotations

import copy
import io
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlkit.app.prediction import Prediction
from dlkit.cli.narrow import fit_width
from dlkit.cli.predict.view import prediction_lines

WIDTHS = (40, 80, 120)

COMMANDS = {
    "train": "train digits-mlp train.epochs=1 --run-dir NEW",
    "compress": "compress FILE --model GPT -o NEW",
    "export": "export GPT NEW",
    "import": "import HUB --run-dir NEW",
    "predict --out": "predict RUN IMAGE --out NEW.csv",
    "review run": "review run gelu-cdf kl-difference",
    "review list": "review list",
}


@pytest.fixture
def hub(here: Any, gpt: Path, tmp_path: Path) -> Path:
    assert here("export", str(gpt), str(tmp_path / "hub"), "-q").code == 0
    return tmp_path / "hub"


@pytest.mark.parametrize("command", COMMANDS)
def test_one_result_at_every_width(
    shown: Any, trained: Path, gpt: Path, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from rich.console import Console

    (tmp_path / "text.txt").write_text("the cat sat on the mat. the cat sat. " * 6)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "image.png")
    standing = {"RUN": trained, "GPT": gpt, "FILE": tmp_path / "text.txt", "HUB": hub, "IMAGE": tmp_path / "image.png"}
    standing |= {"NEW": tmp_path / "new", "NEW.csv": tmp_path / "new.csv"}
    results: list[Any] = []
    monkeypatch.setattr("dlkit.cli.console.show_tables", results.append)
    shown([str(standing.get(word, word)) for word in COMMANDS[command].split()], 80)
    (result,) = results

    def at(width: int) -> str:
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(fit_width(copy.deepcopy(result), console))
        return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]

    words = [word for word in at(500).split() if re.search(r"\d", word) and len(word) <= 40]
    assert words
    for width in WIDTHS:
        text = at(width)
        assert all(len(line) <= width for line in text.splitlines()), text
        assert sorted(words) == sorted(word for word in text.split() if word in words), (width, text)


@pytest.mark.parametrize("folder", ["data", "data" * 20])  # a path too long for a column of its own
def test_doctor_keeps_a_version_beside_its_package(
    shown: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / folder))
    for width in WIDTHS:
        text = shown(["doctor", "--device", "cpu"], width)
        for package in ("torch", "torchvision", "numpy", "safetensors", "scipy"):
            number = version(package).split("+")[0]
            assert any(f"{package} {number}" in line for line in text.splitlines()), (width, text)
        assert all(len(line) <= width for line in text.splitlines()), text


@pytest.mark.parametrize("width", WIDTHS)
def test_predictions_say_where_a_name_was_cut(width: int) -> None:
    """Of labels and rows too; a number of a row is whole or absent."""
    label = "a class whose name goes on and on for more than 24 columns"
    row = {"sepal length (cm)": 5.123456, "sepal width (cm)": 3.512345, "petal length (cm)": 1.412345}
    row |= {f"column {i}": i + 0.25 for i in range(9)}
    for given in (row, "photos/" + "long/" * 20 + "cat-12345.jpg", "a text of many words " * 9):
        found = Prediction(given, label, 0.98765, ((label, 0.98765), ("b", 0.01235)))
        lines = [line.plain for line in prediction_lines(found, 2, width, isinstance(given, str))]
        assert all(len(line) <= width for line in lines), lines
        assert "0.9877" in lines[-2] and "0.0123" in lines[-1]
        assert re.search(r"a class\b[^…]*…  0\.9877", lines[-2]), lines
    found = Prediction(row, label, 0.98765, ((label, 0.98765),))
    text = " ".join(line.plain for line in prediction_lines(found, 1, width, False)).split("…")[0]
    assert {float(number) for number in re.findall(r"=([\d.]+)", text)} <= set(row.values()), text
    value = [line.plain for line in prediction_lines(Prediction(row, value=-1234.5), 1, width, False)]
    assert value[0].endswith("  -1234.5") and len(value[0]) <= width
