"""`dlkit runs` from the shell."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from dlkit.cli.app import run
from tests.cli.conftest import Here


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, of which the second is better; it is the current folder's `runs`."""
    for name in ("digits-mlp-1", "digits-mlp-2"):
        shutil.copytree(trained, tmp_path / "runs" / name, symlinks=True)
    summary = tmp_path / "runs/digits-mlp-2/summary.json"
    record = json.loads(summary.read_text())
    record["metrics"]["val/accuracy"] = 1.0
    summary.write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_the_best_run_is_the_first_and_goes_into_eval(here: Here, runs: Path) -> None:
    listed = here("runs", "--sort", "val/accuracy", "-q")
    assert listed.out.splitlines() == ["runs/digits-mlp-2", "runs/digits-mlp-1"]
    assert here("eval", listed.out.splitlines()[0], "-q").code == 0
    records = here("runs", str(runs), "--where", "recipe=digits*").records
    summary = json.loads((runs / "digits-mlp-1/summary.json").read_text())
    assert records[0]["metrics"] == summary["metrics"]
    assert [record["state"] for record in records] == ["done", "done"]


def test_listing_needs_no_torch(runs: Path) -> None:
    code = "import sys; from dlkit.cli.app import run; run(['runs']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.parent, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


def test_diff_and_plot(here: Here, runs: Path) -> None:
    record = here("runs", "diff", "runs/digits-mlp-1", "runs/digits-mlp-2").record
    assert record["recipe"] == {}
    assert record["metrics"]["val/accuracy"][1] == 1.0
    assert here("runs", "plot", "runs/digits-mlp-1", "-o", "c.png", "-q").out == "c.png\n"
    assert (runs.parent / "c.png").read_bytes().startswith(b"\x89PNG")


def test_prune_lists_and_deletes_only_with_yes(here: Here, runs: Path) -> None:
    asked = ("runs", "prune", "--keep", "1", "--sort", "val/accuracy")
    first = here(*asked)
    assert (first.record["run"], first.record["removed"]) == ("runs/digits-mlp-1", False)
    assert "nothing is deleted yet: 1 run" in first.err
    assert (runs / "digits-mlp-1").exists()
    assert here(*asked, "--yes").record["removed"] is True
    assert sorted(path.name for path in runs.iterdir()) == ["digits-mlp-2"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "no such folder: nowhere"), (["--reverse"], 2, "there is no --sort"),
        (["diff", "runs/digits-mlp-1"], 2, "has nothing to differ from"),
        (["prune", "--keep", "1"], 2, "which of them"),
        (["plot", "runs/digits-mlp-1", "-o", "c.gif"], 2, "c.gif does not end in"),
        (["--sort", "speed"], 2, "no run has 'speed'"),
    ],
)  # fmt: skip
def test_bad_requests(here: Here, runs: Path, arguments: list[str], code: int, message: str) -> None:
    done = here("runs", *arguments)
    assert done.code == code
    error, hint = done.err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: ")


def test_a_run_that_diverges_says_so_until_it_goes_on(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "runs" / "d"
    assert run(["train", "digits-mlp", "optimizer.lr=1e30", "train.epochs=1", "--run-dir", str(path)]) == 1
    assert here("runs", str(path)).record["state"] == "diverged"


def test_prune_leaves_races_and_what_is_running_and_says_so(here: Here, runs: Path) -> None:
    (runs / "race").mkdir()
    (runs / "race" / "runs.jsonl").write_text('{"kind": "race", "title": "digits-mlp"}\n')
    with FileLock(runs / "digits-mlp-1" / ".lock"):
        done = here("runs", "prune", "runs", "--where", "recipe=digits*", "--yes")
    assert done.record["run"] == "runs/digits-mlp-2"
    assert "runs/race stays: it is a race" in done.err
    assert "runs/digits-mlp-1 stays: it is running" in done.err
    assert sorted(path.name for path in runs.iterdir()) == ["digits-mlp-1", "race"]


def test_folders_that_cannot_be_read_are_said(here: Here, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.runs import listing

    def refuse(folder: Path) -> dict[str, os.DirEntry[str]]:
        if folder.name.startswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return {entry.name: entry for entry in os.scandir(folder)}

    monkeypatch.setattr(listing, "_entries", refuse)
    for name in ("closed-1", "closed-2"):
        (runs / name).mkdir()
    result = here("runs", "-q")
    assert (result.code, result.out) == (0, "runs/digits-mlp-1\nruns/digits-mlp-2\n")
    assert result.err.startswith("runs/closed-")
    assert result.err.endswith(" cannot be read (Permission denied), nor can 1 more: runs in there are not listed\n")
