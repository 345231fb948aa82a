"""Numbers that are not finite end a command with an error: none is a class, a rank or null beside exit code 0."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.tasks.classification import ClassificationMeter
from dlkit.training import checkpoint


def said(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith(("error: ", "hint: "))]


@pytest.mark.parametrize("change", ["optimizer.lr=1e30", "optimizer={name: sgd, lr: 1e30}"])
def test_a_run_that_ends_in_nan_fails(here: Any, tmp_path: Path, change: str) -> None:
    options = ["train.steps=1", "train.checkpoint_every=1 steps", "--run-dir", str(tmp_path / "run")]
    result = here("train", "digits-mlp", change, *options)
    assert (result.code, result.out) == (1, "")
    first, hint = said(result.err)
    assert first.startswith("error: diverged: ")
    assert "step 1" in first
    assert "lower optimizer.lr" in hint
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert not (tmp_path / "run" / "summary.json").exists()


def test_patience_does_not_stop_well_on_nan(here: Any, tmp_path: Path) -> None:
    options = ["data.validation=0.1", "train.patience=1", "train.epochs=9", "train.eval_every=1 steps"]
    result = here(
        "train", "digits-mlp", "optimizer={name: sgd, lr: 1e30}", *options, "--run-dir", str(tmp_path / "run")
    )
    assert (result.code, result.out) == (1, "")
    assert said(result.err)[0].startswith("error: diverged: ")
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()


@pytest.fixture(scope="module")
def broken(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoint, whole in every byte, holds a NaN in its weights."""
    run = tmp_path_factory.mktemp("broken") / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "recipe.yaml").write_bytes((trained / "recipe.yaml").read_bytes())
    held = checkpoint.load_checkpoint(trained / "checkpoints" / "last")
    for name, value in held.tensors["model"].items():
        if name.endswith("weight"):
            value.view(-1)[0] = math.nan
    checkpoint.save_checkpoint(run / "checkpoints", held)
    checkpoint.set_pointer(run / "checkpoints", "last", held.step)
    return run


@pytest.mark.parametrize(
    "options", [(), ("-q",), ("--split", "val"), ("--ood", "noise"), ("--confusion", "matrix.svg")]
)
def test_an_evaluation_without_answers_fails(
    here: Any, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = here("eval", str(broken), *options)
    assert (result.code, result.out) == (1, "")
    first, hint = said(result.err)
    assert "NaN or infinite for " in first or "not finite" in first
    assert hint
    assert not Path("matrix.svg").exists()


def test_a_race_says_which_runs_came_to_nan(here: Any) -> None:
    grid = ["--optimizers", "sgd", "--lr", "0.1,1e30", "--seeds", "2", "--steps", "1"]
    for engine in ("stacked", "loop"):
        result = here("compare-optimizers", "digits-mlp", *grid, "--engine", engine)
        records = [record for record in map(json.loads, result.out.splitlines()) if record["kind"] == "run"]
        assert {(record["lr"], record["diverged"]) for record in records} == {(0.1, False), (1e30, True)}
        assert all(record["metrics"] == {} and record["loss"] is None for record in records if record["diverged"])
        assert all(math.isfinite(record["metrics"]["val/loss"]) for record in records if not record["diverged"])


def test_steps_that_are_left_out_are_in_the_record(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.losses import CrossEntropy

    calls, whole = iter(range(1000)), CrossEntropy.forward

    def now_and_then(self: Any, *arguments: Any) -> torch.Tensor:
        loss = whole(self, *arguments)
        return loss * math.nan if torch.is_grad_enabled() and next(calls) % 5 == 3 else loss

    monkeypatch.setattr(CrossEntropy, "forward", now_and_then)
    options = ["train.steps=10", "train.on_nan=skip", "train.precision=fp32", "--run-dir", str(tmp_path / "run")]
    result = here("train", "digits-mlp", *options)
    assert result.code == 0, result.err
    assert result.record["skipped_steps"] == 2
    assert "left out 2 of 10 steps: their loss or gradient was not finite" in result.err


def test_an_undefined_metric_ends_a_whole_run_as_a_failure(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is as that of any other run, with null for what is undefined; `--resume` and `eval` say the same."""
    own = ClassificationMeter.metrics
    # as SciPy has it of outputs that are all equal
    monkeypatch.setattr(ClassificationMeter, "metrics", lambda self: {**own(self), "pearson": math.nan})
    run = tmp_path / "digits-1"
    result = here("train", "digits-mlp", "train.epochs=1", "train.log_every=10", "--run-dir", str(run))
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["metrics"]["test/pearson"], summary["steps"]) == (None, 23)
    assert summary["metrics"]["test/accuracy"] > 0.5
    assert (run / "curves.svg").exists()
    curve = (run / "metrics.jsonl").read_bytes()
    monkeypatch.undo()
    again = here("train", str(run), "--resume")
    monkeypatch.setattr(ClassificationMeter, "metrics", lambda self: {**own(self), "pearson": math.nan})
    for name, ended in (("test/pearson", result), ("test/pearson", again), ("pearson", here("eval", str(run)))):
        assert (ended.code, ended.out) == (1, "")
        assert said(ended.err) == [
            f"error: not a finite number: {name} is nan",
            "hint: a correlation is undefined where all outputs or all targets are equal",
        ]
    assert (run / "metrics.jsonl").read_bytes() == curve
    assert json.loads((run / "summary.json").read_text()) == summary | {
        "seconds": json.loads((run / "summary.json").read_text())["seconds"]
    }
