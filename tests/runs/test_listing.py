"""What a folder says about the run in it."""

from __future__ import annotations

import errno
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from dlkit.errors import DlkitError
from dlkit.runs.listed_run import read_run
from dlkit.runs.listing import list_runs
from tests.runs.conftest import Made


def test_a_finished_run(made: Made) -> None:
    record = read_run(made("a-1")).record()
    expected = {"kind": "run", "recipe": "digits", "state": "done", "step": 9, "seconds": 4.5, "total_steps": 9}
    assert {key: record[key] for key in expected} == expected
    assert record["metrics"] == {"test/loss": pytest.approx(0.1), "test/accuracy": 0.9}


def test_a_run_that_was_stopped_is_where_its_last_checkpoint_is(made: Made) -> None:
    run = read_run(made("a-1", accuracy=None))
    assert (run.state, run.step, run.more["total_steps"], run.seconds) == ("resumable", 7, 9, 12.346)
    assert run.metrics == {"val/loss": 1.5, "val/accuracy": 0.25}


def test_a_run_is_running_while_its_lock_is_held_and_no_longer(made: Made) -> None:
    path = made("a-1", accuracy=None)
    with FileLock(path / ".lock"):
        with (path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 8, "lr": 0.1, "train/loss": 1.0}\n{"step": 9, "l')
        run = read_run(path)
        assert (run.state, run.step) == ("running", 8)
    assert read_run(path).state == "resumable"


def test_a_run_diverged_where_training_says_so_or_a_metric_is_no_number(made: Made) -> None:
    stopped, finished = made("a-1", accuracy=None), made("a-2", metrics={"test/loss": None})
    (stopped / "diverged.json").write_text('{"error": "diverged"}')
    assert [read_run(path).state for path in (stopped, finished)] == ["diverged", "diverged"]


def test_damage_is_named(made: Made) -> None:
    garbled, torn, lost, headless = (made(name) for name in ("garbled", "torn", "lost", "headless"))
    (garbled / "summary.json").write_text("{")
    (torn / "checkpoints/step-00000009").mkdir()
    (lost / "checkpoints/step-00000007/manifest.json").unlink()
    (lost / "checkpoints/step-00000007/state.json").unlink()
    (lost / "checkpoints/step-00000007").rmdir()
    (headless / "recipe.yaml").unlink()
    problems = {run.path.name: run.problem for run in list_runs(garbled.parent) if run.state == "damaged"}
    assert "summary.json is not JSON" in (problems.pop("garbled") or "")
    assert problems == {
        "torn": "checkpoints/step-00000009 has no manifest.json",
        "lost": "its checkpoints are gone",
        "headless": "it has no recipe.yaml",
    }


def test_runs_in_folders_of_folders_by_name_and_none_through_a_link(made: Made, tmp_path: Path) -> None:
    folder = made("b-10").parent
    made("b-9")
    made("a/seed-1")
    (folder / "latest").symlink_to("b-9")
    (folder / "notes").mkdir()
    assert [str(run.path.relative_to(folder)) for run in list_runs(folder)] == ["a/seed-1", "b-9", "b-10"]
    assert [run.path for run in list_runs(folder / "b-9")] == [folder / "b-9"]
    with pytest.raises(DlkitError, match="no such folder"):
        list_runs(tmp_path / "nowhere")


def test_a_race_is_listed_as_one(tmp_path: Path) -> None:
    race = tmp_path / "race"
    race.mkdir()
    (race / "recipe.yaml").write_text("task: image-classification\n")
    lines = [
        {"kind": "race", "title": "digits-mlp"},
        {"kind": "engine", "engine": "loop"},
        {"kind": "run"},
        {"kind": "run"},
    ]
    (race / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (found,) = list_runs(tmp_path)
    assert (found.kind, found.recipe, found.state, found.step) == ("race", "digits-mlp", "resumable", 2)
    (race / "summary.json").write_text('{"verdict": {"winner": "adam"}}')
    (found,) = list_runs(tmp_path)
    assert (found.state, found.record()["winner"]) == ("done", "adam")


def test_a_run_or_race_hides_no_other_and_is_as_large_as_what_it_has_made(made: Made, tmp_path: Path) -> None:
    """As after `dlkit train --run-dir .` and `dlkit compare-optimizers --out .` in a folder of other things."""
    inside = made("b-1")
    folder = inside.parent
    alone = sum(run.size for run in list_runs(folder))
    (folder / "runs.jsonl").write_text('{"kind": "race", "title": "ravine"}\n')
    (folder / "photos").mkdir()
    (folder / "photos/1.jpg").write_bytes(bytes(10_000))
    race, run = list_runs(folder)
    assert (race.kind, race.size, run.path, run.size) == ("race", 36, inside, alone)
    within = made("b-1/more")
    assert [run.path for run in list_runs(inside)] == [inside, within]
    assert read_run(inside).size == alone


def test_folders_may_be_nested_more_deeply_than_python_calls_functions(made: Made) -> None:
    run = made("a-1")
    (run.parent / "/".join(["d"] * 300)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        found = list_runs(run.parent)
    finally:
        sys.setrecursionlimit(limit)
    assert [each.path for each in found] == [run]


def test_a_folder_that_cannot_be_read_hides_no_other(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made("a-1").parent
    scan = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name in ("closed", "gone"):
            code = errno.EACCES if Path(path).name == "closed" else errno.ENOENT
            raise OSError(code, os.strerror(code), str(path))
        return scan(path)

    for name in ("closed", "gone"):
        (folder / name).mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    unread: list[OSError] = []
    assert [run.path for run in list_runs(folder, unread.append)] == [folder / "a-1"]
    assert [error.filename for error in unread] == [str(folder / "closed")]
    with pytest.raises(DlkitError, match=r"cannot read .*closed"):
        list_runs(folder)


def test_the_size_is_that_of_du(made: Made) -> None:
    path = made("a-1")
    (path / "elsewhere").symlink_to("/usr")
    files = subprocess.run(["find", path, "-type", "f", "-printf", "%s\n"], capture_output=True, text=True, check=True)
    assert read_run(path).size == sum(map(int, files.stdout.split()))


def test_json_that_is_nested_too_deeply_is_damage(made: Made) -> None:
    run, race = made("a-1", accuracy=None), made("a-2").parent / "race"
    (run / "metrics.jsonl").write_text('{"a":' * 100_000 + "\n")
    race.mkdir()
    (race / "runs.jsonl").write_text("[" * 100_000 + "\n")
    assert read_run(run).metrics == {}
    (found,) = list_runs(race)
    assert (found.kind, found.state) == ("race", "damaged")


@pytest.mark.parametrize(
    "text", ['{"metrics": []}', '{"metrics": {"val/loss": "x"}}', '{"seconds": [1]}', "[]", "null"]
)
def test_a_summary_that_training_did_not_write_is_damage(made: Made, text: str) -> None:
    path = made("a-1")
    (path / "summary.json").write_text(text)
    run = read_run(path)
    assert (run.state, run.metrics) == ("damaged", {"val/loss": 1.5, "val/accuracy": 0.25})
    assert "summary.json" in (run.problem or "")
