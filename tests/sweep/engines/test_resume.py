"""A stack that is stopped goes on to the very numbers of one that was left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch

from dlkit import recipe
from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.doctor.checks.stacks import stackable_optimizers
from dlkit.errors import DlkitError, NotFiniteError
from dlkit.storage.run_files import steps_in
from dlkit.storage.run_reference import checkpoint_name
from dlkit.sweep.engines import stack_checkpoints as keeping
from dlkit.sweep.engines.loop import run_in_loop
from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
from dlkit.sweep.engines.stacked import run_stacked
from dlkit.sweep.events import SweepEvent, TrialsAdvanced
from dlkit.sweep.trials import TrialResult, trial_grid
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint

OPTIMIZERS = list(stackable_optimizers())
SETTINGS = [
    "model.dropout=0.2", "model.norm=batch", "model.hidden=[16]", "data.validation=0.1", "train.epochs=null",
    "train.steps=12", "train.eval_every=5 steps", "train.log_every=5", "train.precision=fp32", "train.compile=off",
    "train.channels_last=off",
]  # fmt: skip


@pytest.fixture
def comparison() -> OptimizerComparison:
    recipes = {name: recipe.load("digits-mlp", [f"optimizer={{name: {name}}}", *SETTINGS]) for name in OPTIMIZERS}
    return OptimizerComparison(recipes, torch.device("cpu"))


def bare(events: Iterable[SweepEvent]) -> list[TrialResult]:
    """Outcomes without their time."""
    return [dataclasses.replace(o, seconds_share=0.0) for o in events if isinstance(o, TrialResult)]


def after(looks: int) -> Callable[[], bool]:
    """Asks to stop at so many looks."""
    counted = iter(range(10**9))
    return lambda: next(counted) >= looks


def test_a_stopped_stack_goes_on_exactly(comparison: OptimizerComparison, tmp_path: Path) -> None:
    trials = trial_grid(OPTIMIZERS, [1e-3, 1e-2], 2)
    whole = bare(run_stacked(trials, comparison.training))
    for looks in (1, 4, 9):  # stopped in three places, before and behind an evaluation
        assert bare(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(looks)))) == []
    saved = StackCheckpoints(tmp_path).load()
    assert saved is not None
    assert 0 < saved.step < 12
    assert bare(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path))) == whole
    assert not (tmp_path / "stack").exists()


def test_runs_that_are_written_down_do_not_run_again(comparison: OptimizerComparison, tmp_path: Path) -> None:
    trials = trial_grid(["sgd", "adam"], [1e-2], 2)
    whole = bare(run_stacked(trials, comparison.training))
    # a kill between two of a stack's lines: two runs are known, and the stack's last checkpoint is there
    list(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(3))))
    assert bare(run_stacked(trials[2:], comparison.training, StackCheckpoints(tmp_path))) == whole[2:]
    # and one behind the last line
    list(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(3))))
    others = trial_grid(["momentum"], [1e-2], 2)
    assert bare(run_stacked(others, comparison.training, StackCheckpoints(tmp_path))) == bare(
        run_stacked(others, comparison.training)
    )


def test_a_damaged_stack_is_named(comparison: OptimizerComparison, tmp_path: Path) -> None:
    trials = trial_grid(["sgd"], [1e-2], 2)
    list(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(3))))
    (file,) = tmp_path.glob("stack/*/parameters.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DlkitError, match=r"damaged checkpoint: .*parameters\.safetensors"):
        next(iter(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path))))


def _rewritten(folder: Path, change: Callable[[Checkpoint], None]) -> None:
    """Change a stack on the disk as its own writer would, hashes and all."""
    (step,) = steps_in(folder / "stack")
    saved = checkpoint.load_checkpoint(folder / "stack" / checkpoint_name(step))
    change(saved)
    checkpoint.save_checkpoint(folder / "stack", saved)


def test_a_saved_stack_whose_weights_are_not_finite_is_named(comparison: OptimizerComparison, tmp_path: Path) -> None:
    trials = trial_grid(["sgd"], [1e-2], 2)
    list(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(3))))

    def spoil(saved: Checkpoint) -> None:
        saved.tensors["parameters"]["mlp.0.weight"][1, 0, 0] = torch.inf

    _rewritten(tmp_path, spoil)
    with pytest.raises(NotFiniteError, match=r"step-\d+: mlp.0.weight holds numbers that are not finite"):
        next(iter(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path))))


def test_a_run_that_has_diverged_may_be_saved_and_stays_diverged(
    comparison: OptimizerComparison, tmp_path: Path
) -> None:
    trials = trial_grid(["sgd"], [1e-2, 1e30], 1)
    whole = bare(run_stacked(trials, comparison.training))
    assert [outcome.diverged for outcome in whole] == [False, True]
    # before a loss shows it
    assert bare(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(1)))) == []
    resumed = bare(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path)))
    assert repr(resumed) == repr(whole)  # since from Python 3.13 on results with the same NaN are not equal


def test_the_saved_stack_of_another_race_is_refused(comparison: OptimizerComparison, tmp_path: Path) -> None:
    trials = trial_grid(["sgd"], [1e-2], 2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(f"seed: {name}\n")
        list(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path / name, after(3))))
    shutil.rmtree(tmp_path / "b" / "stack")
    shutil.copytree(tmp_path / "a" / "stack", tmp_path / "b" / "stack")
    assert StackCheckpoints(tmp_path / "a").load() is not None
    with pytest.raises(DlkitError, match="is of another race"):
        StackCheckpoints(tmp_path / "b").load()


def test_a_saved_stack_of_another_model_is_refused(comparison: OptimizerComparison, tmp_path: Path) -> None:
    trials = trial_grid(["sgd"], [1e-2], 2)
    list(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path, after(3))))

    def spoil(saved: Checkpoint) -> None:
        saved.tensors["parameters"]["mlp.0.weight"] = torch.zeros(2, 3, 3)

    _rewritten(tmp_path, spoil)
    with pytest.raises(DlkitError, match="other parameters"):
        next(iter(run_stacked(trials, comparison.training, StackCheckpoints(tmp_path))))


def test_stacks_are_saved_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])
    keep = StackCheckpoints(tmp_path)
    assert not keep.due()
    now[0] = keeping.SECONDS + 1
    assert keep.due()
    monkeypatch.setattr(keeping.checkpoint, "save_checkpoint", lambda folder, state: now.__setitem__(0, now[0] + 2.0))
    keep.save(keeping.Checkpoint(3, {}, {}))
    now[0] += keeping.SECONDS + 1  # saving took 2 s
    assert not keep.due()
    now[0] += keeping.SAVES * 2
    assert keep.due()
    assert not StackCheckpoints(None, lambda: True).due()


def test_every_engine_tells_where_it_stands(comparison: OptimizerComparison) -> None:
    trials = trial_grid(["sgd"], [1e-2], 2)

    def steps(events: Iterator[SweepEvent]) -> list[tuple[int, int]]:
        return [(event.step, len(event.outcomes)) for event in events if isinstance(event, TrialsAdvanced)]

    assert steps(run_stacked(trials, comparison.training)) == [(step, 2) for step in range(1, 13)]
    assert steps(run_in_loop(trials, comparison.training)) == [(step, 1) for step in range(1, 13)] * 2


def test_a_loop_stops_between_steps(comparison: OptimizerComparison) -> None:
    trials = trial_grid(["sgd"], [1e-2], 2)
    asked: list[None] = []
    comparison.should_stop = lambda: bool(asked.append(None))
    bare(run_in_loop(trials[:1], comparison.training))
    comparison.should_stop = after(len(asked) + 3)  # in the second run
    assert len(bare(run_in_loop(trials, comparison.training))) == 1


RACE = ("digits-mlp", "model.dropout=0.2", "--optimizers", "momentum,adam", "--lr", "1e-2,0.1", "--seeds", "2")


def started(folder: Path, engine: str, steps: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dlkit", "compare-optimizers", *RACE, "--steps", str(steps), "--engine", engine]
    command += ["--out", str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(folder: Path, text: str) -> None:
    """Until the race's file holds the text."""
    file, deadline = folder / "runs.jsonl", time.monotonic() + 60
    while time.monotonic() < deadline and not (file.exists() and text in file.read_text()):
        time.sleep(0.02)


def runs(folder: Path) -> list[dict[str, object]]:
    records = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    return [{**r, "seconds_share": 0} for r in records if r["kind"] == "run"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "number", "code"),
    [("stacked", signal.SIGINT, 130), ("workers", signal.SIGINT, 130), ("loop", signal.SIGTERM, 143)],
)
def test_a_signal_and_resume_leave_no_trace(tmp_path: Path, engine: str, number: signal.Signals, code: int) -> None:
    steps = 400
    untouched = started(tmp_path / "a", engine, steps)
    _, errors = untouched.communicate(timeout=200)
    assert untouched.returncode == 0, errors
    stopped = started(tmp_path / "b", engine, steps)
    wait_for(tmp_path / "b", '"engine"')
    if engine == "workers":  # until the first run of eight has finished
        wait_for(tmp_path / "b", '"kind": "run"')
    else:
        time.sleep(1.0)
    stopped.send_signal(number)
    out, errors = stopped.communicate(timeout=60)
    assert (stopped.returncode, out) == (code, ""), errors
    assert "go on with --resume" in errors
    assert len(runs(tmp_path / "b")) < 8
    assert (tmp_path / "b" / "stack").exists() == (engine == "stacked")
    resumed = started(tmp_path / "b", "auto", steps, "--resume")
    out, errors = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, errors
    key = "lr", "seed", "optimizer"
    ordered = [sorted(runs(tmp_path / name), key=lambda r: [str(r[k]) for k in key]) for name in "ab"]
    assert ordered[0] == ordered[1]


@pytest.mark.slow
def test_a_killed_stack_goes_on(tmp_path: Path) -> None:
    untouched = started(tmp_path / "a", "stacked", 500)
    _, errors = untouched.communicate(timeout=200)
    assert untouched.returncode == 0, errors
    # saved by a signal, gone on with, and then killed: what was saved is still there
    stopped = started(tmp_path / "b", "stacked", 500)
    wait_for(tmp_path / "b", '"engine"')
    time.sleep(1.0)
    stopped.send_signal(signal.SIGINT)
    stopped.communicate(timeout=60)
    killed = started(tmp_path / "b", "stacked", 500, "--resume")
    time.sleep(3.0)
    killed.kill()
    killed.communicate(timeout=60)
    resumed = started(tmp_path / "b", "auto", 500, "--resume")
    _, errors = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, errors
    assert runs(tmp_path / "a") == runs(tmp_path / "b")
