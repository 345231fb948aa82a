"""`data: {name: hub}` from the shell: data, train, eval, predict, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Here

datasets: Any = pytest.importorskip("datasets")
NAMES = ["bad", "good"]
SMALL = (
    "model.layers=1",
    "model.width=16",
    "model.heads=2",
    "data.batch_size=16",
    "data.context=16",
    "train.epochs=8",
    "train.compile=off",
)


def split(count: int, hidden: bool = False) -> Any:
    features = datasets.Features({"say": datasets.Value("string"), "mood": datasets.ClassLabel(names=NAMES)})
    texts = [f"{('gloomy', 'sunny')[row % 2]} day {row}" for row in range(count)]
    moods = [-1 if hidden else row % 2 for row in range(count)]
    return datasets.Dataset.from_dict({"say": texts, "mood": moods}, features=features)


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub") / "moods"
    root.mkdir()
    for name, rows in (("train", split(64)), ("validation", split(16)), ("test", split(4, hidden=True))):
        rows.to_parquet(root / f"{name}-00000-of-00001.parquet")
    return root


@pytest.fixture
def trained(here: Here, moods: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    run = tmp_path / "run"
    found = here("train", "hub-texts", f"data.path={moods}", "data.text=say", *SMALL, "--run-dir", str(run))
    assert found.code == 0, found.err
    assert f"{moods}: train 64, val 16 (validation); text 'say', label 'mood': bad, good; left out: " in found.err
    assert "split 'test' (no labels)" in found.err
    return run


def test_a_run_remembers_its_classes_by_name(here: Here, trained: Path, moods: Path, tmp_path: Path) -> None:
    record = json.loads((trained / "summary.json").read_text())
    assert record["metrics"]["val/accuracy"] == 1.0
    assert record["sources"]["left_out"] == ["split 'test' (no labels)"]

    other = tmp_path / "turned"
    other.mkdir()
    features = datasets.Features({"say": datasets.Value("string"), "mood": datasets.ClassLabel(names=NAMES[::-1])})
    rows = {"say": ["a gloomy day", "a sunny day", "gloomy"], "mood": [1, 0, 1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(other / "test.parquet")
    found = here("eval", str(trained), f"data.path={other}").record
    assert (found["n"], found["metrics"]["accuracy"]) == (3, 1.0)
    assert [entry["class"] for entry in found["per_class"]] == NAMES

    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps({"say": text}) + "\n" for text in rows["say"]))
    predicted = here("predict", str(trained), "--rows", str(table)).records
    assert [one["label"] for one in predicted] == ["bad", "good", "bad"]

    refused = here("eval", str(trained), "data.split=test")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines() == [
        f"error: {moods}, split 'test': no row has a label in 'mood': they are hidden, or missing",
        "hint: its other splits: train, validation",
    ]


@pytest.mark.parametrize(
    ("changes", "code", "error", "hint"),
    [
        (["data.path=ann/absent"], 1, "the data set ann/absent is not here", "dlkit download hf:ann/absent"),
        (["data.text=words"], 2, "has no column 'words'", "columns: say (text), mood (class label)"),
        (["data.image=say"], 2, "data.image: unknown key", None),
        (["task=causal-lm", "model.name=gpt", "data.label=mood"], 2, "data.label: unknown key", None),
    ],
)
def test_a_wrong_request_shows_before_training(
    here: Here, moods: Path, changes: list[str], code: int, error: str, hint: str | None
) -> None:
    found = here("data", "hub-texts", f"data.path={moods}", "data.text=say", *changes)
    assert (found.code, found.out) == (code, "")
    assert error in found.err
    assert hint is None or f"hint: {hint}" in found.err


def test_each_task_has_its_own_options(here: Here) -> None:
    options = {record["tasks"][0]: set(record["options"]) for record in here("components", "data.hub").records}
    assert {"image", "label", "size"} <= options["image-classification"]
    assert {"text", "pair", "context"} <= options["text-classification"]
    assert "columns" in options["tabular-classification"]
    assert options["causal-lm"].isdisjoint({"label", "image"})
