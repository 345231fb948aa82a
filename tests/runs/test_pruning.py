"""Deletion of runs, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from dlkit.errors import DlkitError
from dlkit.runs.listed_run import read_run
from dlkit.runs.listing import list_runs
from dlkit.runs.pruning import prunable_runs, remove_run
from dlkit.runs.selection import condition
from tests.runs.conftest import Made


def test_what_would_go(made: Made) -> None:
    folder = made("good", accuracy=0.9).parent
    made("better", accuracy=0.95)
    made("other", accuracy=0.1, recipe="text")
    (made("bad", accuracy=None) / "diverged.json").write_text("{}")
    running = made("running", accuracy=None)
    with FileLock(running / ".lock"):
        runs = list_runs(folder)
    assert [run.path.name for run in prunable_runs(runs)] == ["bad"]
    assert [run.path.name for run in prunable_runs(runs, [condition("recipe=text")])] == ["other"]
    assert {run.path.name for run in prunable_runs(runs, keep=1, sort="test/accuracy")} == {"good", "bad"}


def test_a_run_whose_checkpoints_are_kept_elsewhere_stays(made: Made, tmp_path: Path) -> None:
    """Whoever moved them to another disk, and left links, has not lost them; where it is asked for, it goes."""
    whole, one, gone = made("whole"), made("one"), made("gone")
    (whole / "checkpoints").rename(tmp_path / "whole")
    (whole / "checkpoints").symlink_to(tmp_path / "whole")
    (one / "checkpoints" / "step-00000007").rename(tmp_path / "step")
    (one / "checkpoints" / "step-00000007").symlink_to(tmp_path / "step")
    (gone / "checkpoints" / "step-00000007").rename(tmp_path / "gone")
    runs = list_runs(whole.parent)
    assert [run.path.name for run in prunable_runs(runs)] == ["gone"]
    assert {run.path.name for run in prunable_runs(runs, [condition("recipe=digits")])} == {"whole", "one", "gone"}


def test_a_run_goes_and_what_is_not_its_own_stays(made: Made) -> None:
    run, kept = made("a"), made("b")
    assert remove_run(read_run(run)) == []
    assert not run.exists()
    (kept / "notes.md").write_text("mine")
    assert remove_run(read_run(kept)) == ["notes.md"]
    assert {path.name for path in kept.iterdir()} - {".lock"} == {"notes.md"}


def test_nothing_goes_through_a_link(made: Made, tmp_path: Path) -> None:
    target, run = made("target"), made("run")
    linked = tmp_path / "linked"
    linked.symlink_to(target)
    with pytest.raises(DlkitError, match="is a link"):
        remove_run(read_run(linked))
    elsewhere = tmp_path / "elsewhere"
    (run / "checkpoints").rename(elsewhere)
    (run / "checkpoints").symlink_to(elsewhere)
    remove_run(read_run(run))
    assert not run.exists()
    assert (target / "recipe.yaml").exists()
    assert (elsewhere / "step-00000007/manifest.json").exists()


def test_a_run_that_has_begun_or_gone_on_since_stays(made: Made) -> None:
    run = made("a", accuracy=None)
    listed = read_run(run)
    with FileLock(run / ".lock"), pytest.raises(DlkitError, match="in use"):
        remove_run(listed)
    (run / "summary.json").write_text("{}")
    with pytest.raises(DlkitError, match="has changed"):
        remove_run(listed)
    assert (run / "recipe.yaml").exists()
