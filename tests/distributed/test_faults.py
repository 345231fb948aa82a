"""A job whose processes are killed, stopped or fail: it ends as a whole, and goes on to the same curve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import dlkit

Job = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
STEPS, SECONDS = 60, 150
# A schedule of the user's own, which gives time to interfere, and fails where it is told to.
SCHEDULE = """
import os, time

def paced(step, total_steps):
    time.sleep(float(os.environ.get("PACE", 0)))
    if os.environ.get("FAILS") == f"{os.environ.get('RANK')} at {step}":
        raise ValueError(f"no rate for step {step}")
    return 1.0 - step / total_steps
"""


@pytest.fixture
def recipe(tmp_path: Path) -> list[str]:
    """A run of 60 steps that saves every 5; the arguments behind `train`."""
    (tmp_path / "paced.py").write_text(SCHEDULE)
    chosen = ["digits-mlp", f"schedule.name={tmp_path}/paced.py:paced"]
    length = [
        "train.epochs=null",
        f"train.steps={STEPS}",
        "train.checkpoint_every=5 steps",
        "train.eval_every=20 steps",
    ]
    return [*chosen, *length, "train.log_every=1", "data.validation=0.1", "--trust", "--device", "cpu"]


def rank_of(started: subprocess.Popen[str], rank: int, attempt: int = 0) -> int:
    """The process of a rank, in the so-manieth attempt of torchrun."""
    wanted = {f"RANK={rank}", f"TORCHELASTIC_RESTART_COUNT={attempt}"}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for child in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split():
            try:
                if wanted <= set(Path(f"/proc/{child}/environ").read_text().split("\0")):
                    return int(child)
            except OSError:
                continue
        time.sleep(0.05)
    raise AssertionError("no such process")


def wait_for_step(started: subprocess.Popen[str], run: Path, least: int) -> None:
    """Wait until a checkpoint of at least that step is there."""
    end = time.monotonic() + SECONDS
    while not (last := run / "checkpoints" / "last").exists() or int(last.readlink().name[5:]) < least:
        assert time.monotonic() < end and started.poll() is None, started.communicate(timeout=SECONDS)
        time.sleep(0.02)


def curve(run: Path) -> dict[int, dict[str, float]]:
    """The logged numbers of each step; none twice."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "train/loss" in line]
    assert steps == list(range(1, STEPS + 1))
    found: dict[int, dict[str, float]] = {}
    for line in lines:
        found.setdefault(line["step"], {}).update(line)
    return found


def same_curve(one: Path, other: Path) -> None:
    ours, theirs = curve(one), curve(other)
    assert ours.keys() == theirs.keys()
    for step, numbers in ours.items():
        assert numbers == pytest.approx(theirs[step], rel=1e-5, abs=1e-6), step


@pytest.mark.distributed
def test_a_job_that_is_killed_and_stopped_goes_on_to_the_same_curve(
    job: Job, recipe: list[str], tmp_path: Path
) -> None:
    run, whole, copy = tmp_path / "run", tmp_path / "whole", tmp_path / "copy"
    arguments = ["train", *recipe, "--run-dir", str(run), "--resume", "auto"]
    with job(*arguments, options=("--max-restarts", "1"), PACE="0.1") as started:
        wait_for_step(started, run, 10)
        os.kill(rank_of(started, 1), signal.SIGKILL)
        # torchrun starts both again, which go on where the run was saved
        second = rank_of(started, 1, attempt=1)
        wait_for_step(started, run, 25)
        os.kill(second, signal.SIGTERM)
        out, err = started.communicate(timeout=SECONDS)
    assert started.returncode == 1  # torchrun's own
    assert out == ""
    assert err.count("starting at step 0") == 0 and err.count(f"going on with {run} at step") == 1
    (stopped,) = [line for line in err.splitlines() if line.startswith("stopped at step")]
    at = int(stopped.split()[3])
    assert 25 <= at < STEPS and stopped.endswith(f"go on: dlkit train {run} --resume")
    assert "exitcode  : 143" in err and "(exitcode: -9)" in err
    checkpoints = sorted(path.name for path in (run / "checkpoints").glob("step-*"))
    assert f"step-{at:08d}" in checkpoints and not list((run / "checkpoints").glob(".*"))
    shutil.copytree(run, copy, symlinks=True)

    dlkit.set_trust(True)
    try:
        alone = dlkit.train(str(copy), resume=True, device="cpu").result()
        changes = [text for text in recipe[1:] if "=" in text]
        dlkit.train(dlkit.load("digits-mlp", *changes), run_dir=whole, device="cpu").result()
    finally:
        dlkit.set_trust(False)
    assert (alone.steps, alone.stopped) == (STEPS, False)
    with job(*arguments) as again:
        out, err = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, err
    assert json.loads(out)["processes"] == 2
    same_curve(copy, whole)  # with one process
    same_curve(run, whole)  # with two


@pytest.mark.distributed
def test_a_process_that_fails_ends_the_job_with_its_own_error(job: Job, recipe: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with job("train", *recipe, "--run-dir", str(run), FAILS="1 at 7") as started:
        out, err = started.communicate(timeout=SECONDS)
    assert (started.returncode, out) == (1, "")
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert sum("no rate for step 7" in line for line in errors) == 1
    assert all("no rate for step 7" in line or "another process of this job has ended" in line for line in errors)
    assert "internal error" not in err
    cause = err[err.index("Root Cause (first observed failure)") :]
    assert "rank      : 1" in cause and "no rate for step 7" in cause
    assert [path.name for path in (run / "checkpoints").glob("step-*")] == ["step-00000005"]


@pytest.mark.distributed
def test_torchrun_passes_a_signal_on_and_the_run_is_saved_once(job: Job, recipe: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with job("train", *recipe, "--run-dir", str(run), PACE="0.1") as started:
        wait_for_step(started, run, 5)
        started.send_signal(signal.SIGTERM)
        _, err = started.communicate(timeout=SECONDS)
    assert started.returncode != 0
    assert err.count("stopping after this step, with a checkpoint") == 1
    (stopped,) = [line for line in err.splitlines() if line.startswith("stopped at step")]
    assert (run / "checkpoints" / "last").readlink().name == f"step-{int(stopped.split()[3]):08d}"


@pytest.mark.distributed
def test_two_commands_at_once_are_two_runs(recipe: list[str], tmp_path: Path) -> None:
    """Without torchrun, though a cluster says that they are two processes of a job of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    command = [sys.executable, "-m", "dlkit", "train", *recipe, "train.steps=4"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TORCHELASTIC")}
    cluster = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    environments = [{**kept, **cluster, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=each, cwd=folder)
        for each in environments
    ]
    records = []
    for one in both:
        out, err = one.communicate(timeout=SECONDS)
        assert one.returncode == 0, err
        assert "WORLD_SIZE is 2, but torchrun did not start this process: it works alone" in err
        records.append(json.loads(out))
    assert {record["run"] for record in records} == {"runs/digits-mlp-1", "runs/digits-mlp-2"}
    assert all("processes" not in record for record in records)
    assert records[0]["metrics"] == records[1]["metrics"]
