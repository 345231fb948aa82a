"""dlkit recipes: list, show, copy, check, schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dlkit import recipe


def test_list_show_and_schema(here: Any) -> None:
    names = here("recipes", "list", "-q").out.split()
    assert names == sorted(recipe.shipped())
    shown = here("recipes", "show", "digits-resnet20").out
    assert shown == recipe.shipped()["digits-resnet20"].read_text()
    schema = json.loads(here("recipes", "schema").out)
    jsonschema: Any = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)


def test_show_resolved_writes_out_every_default(here: Any, tmp_path: Path) -> None:
    text = here("recipes", "show", "digits-plain56", "--resolved", "optimizer.lr=0.25").out
    (tmp_path / "r.yaml").write_text(text)
    values = recipe.load(str(tmp_path / "r.yaml")).values
    assert values == recipe.load("digits-plain56", ["optimizer.lr=0.25"]).values
    assert values["optimizer"]["momentum"] == 0.9


def test_copy_then_check(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in recipe.shipped():
        assert here("recipes", "copy", name).out == f"{name}.yaml\n"
        checked = here("recipes", "check", f"{name}.yaml")
        assert checked.code == 0, checked.err
        assert checked.record["status"] == "ok"
    again = here("recipes", "copy", "digits-mlp")
    assert again.code == 2
    assert "digits-mlp.yaml exists" in again.err
    assert here("recipes", "copy", "digits-mlp", "--force").code == 0
    assert here("recipes", "copy", "digits-mlp", "no/where.yaml").code == 2
    first = (tmp_path / "digits-mlp.yaml").read_text().splitlines()[0]
    assert Path(first.partition("$schema=file://")[2]).is_file()


def test_check_reports_every_problem(here: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: image-classification\noptimzer: {name: adam}\ndata: {name: digits, batch_size: 0}\n")
    result = here("recipes", "check", str(path))
    assert (result.code, result.out) == (2, "")
    *problems, summary = result.err.splitlines()
    assert f"{path}:2: optimzer: unknown key (did you mean optimizer?)" in problems
    assert any(line.startswith(f"{path}:3: data.batch_size: ") for line in problems)
    assert summary == f"error: {len(problems)} problems in the recipe"


@pytest.mark.parametrize("data", [b"task: \xff\n", "task: x\n".encode("utf-16"), b"task: \0\n"])
def test_a_recipe_that_is_no_text_is_named(here: Any, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    for arguments in (("show", str(path)), ("copy", str(path), str(tmp_path / "copy.yaml")), ("check", str(path))):
        result = here("recipes", *arguments)
        assert (result.code, result.out) == (2, "")
        assert "mine.yaml" in result.err
        assert "internal error" not in result.err
    assert not (tmp_path / "copy.yaml").exists()


def test_a_copy_that_fails_leaves_nothing_behind(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the name stays free, so that the same command works when there is room."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "mine.yaml"
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        result = here("recipes", "copy", "digits-mlp", str(target))
    assert result.code == 1
    assert f"cannot write {target}: No space left on device" in result.err
    assert list(tmp_path.iterdir()) == []
    assert here("recipes", "copy", "digits-mlp", str(target)).code == 0


@pytest.mark.parametrize("where", ["pipe.yaml", "extends"])
def test_a_pipe_is_not_waited_for(here: Any, tmp_path: Path, where: str) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "extends").write_text("extends: pipe.yaml\n")
    result = here("recipes", "check", str(tmp_path / where))
    assert result.code == 1
    assert "pipe.yaml: it is a pipe, not a file" in result.err
