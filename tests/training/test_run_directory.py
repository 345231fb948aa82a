"""A run directory while a run writes it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dlkit.errors import DlkitError
from dlkit.storage.run_reference import Run
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.events import Evaluated
from dlkit.training.run_directory import RunDirectory


def _replaced(run: Path) -> None:
    content = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").write_bytes(content)


CHANGES = {
    "moved": lambda run: run.rename(run.with_name("elsewhere")),
    "deleted": shutil.rmtree,
    "another's metrics": _replaced,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_run_does_not_go_on_in_two_places(tmp_path: Path, change: Callable[[Path], object]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with RunDirectory(run) as directory:
        directory.open_metrics()
        directory.record(Evaluated(1, 1, {"val/loss": 1.0}, True))
        directory.save(Checkpoint(1, {}, {}), best=False)
        change(run)
        there = sorted(tmp_path.rglob("*"))
        with pytest.raises(DlkitError, match=r"metrics\.jsonl was moved, replaced or deleted while"):
            directory.save(Checkpoint(2, {}, {}), best=False)
        assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("name", ["run", "my run", "$run; rm"])
def test_the_commands_of_hints_can_be_pasted(tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    run.mkdir()
    with pytest.raises(DlkitError) as none_yet:
        Run(run).choose()
    with RunDirectory(run, keep_all=True) as directory:
        directory.open_metrics()
        for step in (1, 2):
            directory.save(Checkpoint(step, {}, {"best_step": None}), best=False)
        newest = run / "checkpoints" / "step-00000002"
        (newest / "state.json").write_text("{}")
        with pytest.raises(DlkitError) as damaged:
            directory.latest()
        shutil.rmtree(run / "checkpoints" / "step-00000001")
        shutil.rmtree(newest)
        with pytest.raises(DlkitError) as lost:
            directory.latest()
    commands = [
        shlex.split(re.sub(".*?: (?=dlkit|rm)", "", str(caught.value.hint))) for caught in (none_yet, damaged, lost)
    ]
    assert commands == [
        ["dlkit", "train", str(run), "--resume"],
        ["rm", "-r", str(newest)],
        ["dlkit", "train", str(run / "recipe.yaml"), "--run-dir", str(run), "--overwrite"],
    ]
