"""Names, records and files that nobody means well with: each ends in a result or in one line that says why not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

RECIPE = """\
task: tabular-classification
data: {name: csv, path: rows.csv, label: label}
model: {name: mlp, hidden: [4]}
optimizer: {name: adamw}
train: {steps: 1, precision: fp32, compile: "off"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with rows and a recipe for them."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i % 5},{i % 3},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "rows.csv").write_text("x,y,label\n" + rows)
    (tmp_path / "rows.yaml").write_text(RECIPE)
    return tmp_path


def test_a_run_may_have_a_name_that_is_no_text(here: Any, folder: Path, stdin: Any) -> None:
    name = os.fsdecode(b"run\xff")
    result = here("train", "rows.yaml", "--run-dir", name)
    assert result.code == 0, result.err
    assert json.loads(result.out)["run"] == name  # by the standard library, which reads escaped bytes as such
    assert json.loads((folder / name / "summary.json").read_text())["run"] == name
    stdin(result.out)
    measured = here("eval", "-")
    assert measured.code == 0, measured.err
    assert measured.record["run"] == name
    # its name is the recipe's, and so the title of the figure
    again = here("train", name, "--run-dir", "again")
    assert again.code == 0, again.err


def test_a_name_is_no_formula(here: Any, folder: Path) -> None:
    """matplotlib refuses `$x^$` as mathematics; as a title it is what it is."""
    (folder / "rows.yaml").rename(folder / "$x^$.yaml")
    result = here("train", "$x^$.yaml", "--run-dir", "run")
    assert result.code == 0, result.err
    assert "<!-- $x^$ -->" in (folder / "run" / "curves.svg").read_text()


@pytest.mark.parametrize(
    "text",
    ['{"run":' * 50_000, "[" * 3_000_000, '{"run": ' + "9" * 5000 + "}", '{"run": "a\\u0000b"}', '{"run": "\\ud800"}'],
    ids=["deep", "long", "number", "zero", "surrogate"],
)
def test_a_record_on_standard_input_is_read_with_care(here: Any, stdin: Any, text: str) -> None:
    stdin(text)
    result = here("eval", "-")
    assert result.code in (1, 2)
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert "internal error" not in result.err
    assert len(result.err) < 5000


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("kind", ["loop", "pipe"])
def test_no_checkpoint_is_waited_for(here: Any, folder: Path, trained: Path, name: str, kind: str) -> None:
    shutil.copytree(trained, folder / "run", symlinks=True)
    file = folder / "run" / "checkpoints" / "last" / name
    file.unlink()
    file.symlink_to(name) if kind == "loop" else os.mkfifo(file)
    for command in (["eval", "run"], ["train", "run", "--resume"], ["eval", "run/checkpoints/last"]):
        result = here(*command)
        assert result.code in (1, 2)
        assert result.err.count("error: ") == 1
        assert "internal error" not in result.err


@pytest.mark.parametrize("name", ["nothing.yaml", "digits-mpl"])
def test_a_race_with_a_wrong_recipe_makes_no_folder(here: Any, folder: Path, name: str) -> None:
    assert here("compare-optimizers", name, "--out", "race").code == 2
    assert not (folder / "race").exists()
