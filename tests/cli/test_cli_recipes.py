"""dlkit recipes: list, show, copy, check, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dlkit import recipe


def test_list_show_and_schema(here: Any) -> None:
    names = here("recipes", "list", "-q").out.split()
    assert names == sorted(recipe.shipped())
    shown = here("recipes", "show", "digits-resnet20").out
    assert shown == recipe.shipped()["digits-resnet20"].read_text()
    schema = json.loads(here("recipes", "schema").out)
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
