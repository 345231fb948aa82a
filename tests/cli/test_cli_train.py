"""dlkit train: the record, the run directory, resuming, and what can go wrong."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from dlkit.app.trained_run import Started
from dlkit.cli.train.view import TrainingView
from dlkit.training import autotune, rng

SHORT = ("train.epochs=1",)


pytestmark = pytest.mark.usefixtures("elsewhere")


def test_the_record_and_the_directory(here: Any) -> None:
    result = here("train", "digits-mlp", *SHORT)
    assert result.code == 0
    record = result.record
    assert record["run"] == "runs/digits-mlp-1"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert (record["recipe"], record["task"], record["device"]) == ("digits-mlp", "image-classification", device)
    assert (record["steps"], record["epochs"], record["precision"]) == (23, 1.0, "fp32")
    assert record["parameters"] == 64 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10
    assert record["checkpoint"] == "runs/digits-mlp-1/checkpoints/last"
    assert 0 < record["metrics"]["test/accuracy"] <= 1
    run = Path(record["run"])
    assert json.loads((run / "summary.json").read_text()) == record
    assert (run / "curves.svg").read_text().startswith("<?xml")
    environment = json.loads((run / "environment.json").read_text())
    assert {"dlkit", "python", "packages", "device", "command", "data", "threads"} <= environment.keys()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 23, 23]
    assert lines[-1]["test/accuracy"] == record["metrics"]["test/accuracy"]
    names = {path.name for path in (run / "checkpoints" / "last").iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_quiet_prints_the_run_and_runs_are_numbered(here: Any) -> None:
    for number in (1, 2):
        result = here("train", "digits-mlp", *SHORT, "-q")
        assert (result.code, result.out, result.err) == (0, f"runs/digits-mlp-{number}\n", "")


def test_how_far_an_evaluation_is(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a line of the live view, elsewhere a plain line where it has been quiet for long."""
    monkeypatch.setattr("dlkit.cli.train.view._LINE_EVERY_SECONDS", 0.0)
    told = here("train", "digits-mlp", *SHORT, "data.batch_size=120").err.splitlines()
    evaluated = [line for line in told if line.startswith("evaluating")]
    assert evaluated[:3] == [f"evaluating batches {n}/3" for n in (1, 2, 3)]

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    view = TrainingView(Started(Path("run"), "a run", "cpu", "fp32", 1, 10, 5, 0, "samples"), console, print)
    with view.follow("evaluating batches", 2000) as advance:
        advance(1500)
        console.print(view.render())
    console.print(view.render())
    assert screen.getvalue().count("evaluating batches 1,500/2,000") == 1


def test_the_resolved_recipe_repeats_the_run(here: Any) -> None:
    first = here("train", "digits-mlp", *SHORT, "--seed", "7").record
    again = here("train", f"{first['run']}/recipe.yaml", "--run-dir", "again").record
    weights = [Path(r["run"], "checkpoints/last/model.safetensors").read_bytes() for r in (first, again)]
    assert weights[0] == weights[1]
    assert first["seed"] == again["seed"] == 7
    other = here("train", "digits-mlp", *SHORT, "--seed", "8").record
    assert Path(other["run"], "checkpoints/last/model.safetensors").read_bytes() != weights[0]


def test_a_recipe_from_standard_input(here: Any, stdin: Any) -> None:
    text = (Path(__file__).parents[2] / "recipes" / "digits-mlp.yaml").read_bytes()
    stdin(text)
    result = here("train", "-", "train.epochs=1", "-q")
    assert result.code == 0, result.err
    assert Path(result.out.strip(), "summary.json").is_file()


def test_an_existing_run_is_refused_overwritten_or_resumed(here: Any) -> None:
    arguments = ("train", "digits-mlp", *SHORT, "--run-dir", "r")
    first = here(*arguments).record
    refused = here(*arguments)
    assert refused.code == 2
    assert refused.err.splitlines()[0] == "error: r already holds a run"
    assert "--resume" in refused.err
    assert "--overwrite" in refused.err
    resumed = here(*arguments, "--resume")
    assert resumed.record["metrics"] == first["metrics"]
    assert "going on with r at step 23" in resumed.err
    changed = here("train", "digits-mlp", "train.epochs=2", "--run-dir", "r", "--resume")
    assert changed.code == 2
    assert "train.epochs is 1 in the run, now 2" in changed.err
    Path("r/.mine.tmp").touch()
    Path("r/.summary.json.1.tmp").touch()  # of a run that was killed
    assert here(*arguments, "--overwrite", "optimizer.lr=1e-4").record["metrics"] != first["metrics"]
    assert [path.name for path in Path("r").glob(".*.tmp")] == [".mine.tmp"]


def test_a_run_that_moves_says_so(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rng, "_name", lambda device: "cuda:1")
        assert here("train", "digits-mlp", *SHORT, "--run-dir", "r", "--device", "cpu").code == 0
    moved = here("train", "r", "--resume", "--device", "cpu")
    assert moved.code == 0
    assert "this run was on cuda:1 and goes on on cpu: what is drawn there" in moved.err
    stayed = here("train", "digits-mlp", *SHORT, "--run-dir", "s", "--device", "cpu")
    assert "goes on on" not in stayed.err + here("train", "s", "--resume", "--device", "cpu").err


def test_a_compiled_run_goes_on_without_a_compiler(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert here("train", "digits-mlp", *SHORT, "--run-dir", "r").code == 0
    recipe = Path("r/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("compile: 'off'", "compile: 'on'"))
    assert "compile: 'on'" in recipe.read_text()
    monkeypatch.setattr(autotune, "can_compile", lambda device: False)
    refused = here("train", "r", "--resume")
    assert refused.code == 2
    *_, error, hint = refused.err.splitlines()
    assert "no C++ compiler" in error
    resumed = here("train", "r", "--resume", *hint.removeprefix("hint: set ").split())
    assert resumed.code == 0, resumed.err
    assert "train.compile was on in this run, now off" in resumed.err


def test_a_folder_of_other_things_is_left_alone(here: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for option in ((), ("--overwrite",)):
        result = here("train", "digits-mlp", *SHORT, "--run-dir", "mine", *option)
        assert result.code == 2
        assert "mine is not empty and holds no run" in result.err
    assert (tmp_path / "mine" / "thesis.tex").exists()
    assert here("train", "digits-mlp", *SHORT, "--run-dir", "mine/thesis.tex").code == 2


def test_a_mistake_never_costs_an_earlier_run(here: Any, tmp_path: Path) -> None:
    assert here("train", "digits-mlp", *SHORT, "--run-dir", "r").code == 0
    weights = (tmp_path / "r/checkpoints/last/model.safetensors").read_bytes()
    result = here("train", "csv-mlp", "data.path=none.csv", "--run-dir", "r", "--overwrite")
    assert result.code == 1
    assert "none.csv" in result.err
    assert (tmp_path / "r/checkpoints/last/model.safetensors").read_bytes() == weights


def test_resume_without_a_run(here: Any) -> None:
    result = here("train", "digits-mlp", "--resume")
    assert result.code == 2
    assert "--resume needs a run" in result.err
    both = here("train", "digits-mlp", "--resume", "--overwrite")
    assert (both.code, "contradict" in both.err) == (2, True)


def test_divergence_is_named_and_the_last_checkpoint_kept(here: Any, tmp_path: Path) -> None:
    result = here("train", "digits-mlp", "optimizer={name: sgd, lr: 1e30}", "train.log_every=1", "--run-dir", "r")
    assert (result.code, result.out) == (1, "")
    assert re.match(r"error: diverged: the training loss of step \d+ is not finite$", result.err.splitlines()[-2])
    assert "lower optimizer.lr" in result.err


def test_patience_needs_validation_data(here: Any) -> None:
    result = here("train", "digits-mlp", "train.patience=2")
    assert result.code == 2
    assert "train.patience needs validation data" in result.err
    assert not Path("runs").exists()


def test_patience_stops_and_the_best_checkpoint_stays(here: Any) -> None:
    changes = ["data.validation=0.2", "train.patience=2", "train.epochs=200", "optimizer.lr=0.01"]
    record = here("train", "digits-mlp", *changes).record
    assert record["stopped_by"] == "patience"
    assert record["epochs"] < 200
    best = Path(record["run"], "checkpoints", "best").resolve()
    assert best.name < Path(record["checkpoint"]).resolve().name


def test_a_missing_device_is_a_request_error(here: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    result = here("train", "digits-mlp", "--device", "cuda:3")
    assert result.code == 2
    assert result.err.startswith("error: no device cuda:3: 0 CUDA devices here")


def test_no_permission_is_one_line(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    result = here("train", "digits-mlp", *SHORT)
    assert result.code == 1
    assert result.err.splitlines()[-2].startswith("error: ")
    assert "Permission denied" in result.err


def test_tensorboard_events_hold_what_metrics_hold(here: Any) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = ["train.epochs=2", "train.tensorboard=true", "train.log_every=1", "train.checkpoint_every=1 epoch"]
    arguments = ("train", "digits-mlp", *settings, "train.keep_checkpoints=true", "--run-dir", "r")

    def assert_same(record: dict[str, Any]) -> None:
        events = EventAccumulator("r/tensorboard")
        events.Reload()
        logged = [json.loads(line) for line in Path("r/metrics.jsonl").read_text().splitlines()]
        expected = [(line["step"], line["train/loss"]) for line in logged if "train/loss" in line]
        scalars = [(event.step, event.value) for event in events.Scalars("train/loss")]
        assert scalars == [(step, pytest.approx(value)) for step, value in expected]
        assert events.Scalars("test/accuracy")[-1].value == pytest.approx(record["metrics"]["test/accuracy"])

    first = here(*arguments).record
    assert_same(first)
    shutil.rmtree(f"r/checkpoints/step-{first['steps']:08d}")  # as if it had been killed before that one was saved
    assert_same(here("train", "r", "--resume").record)
    assert_same(here(*arguments, "--overwrite").record)
    (events,) = Path("r/tensorboard").iterdir()
    assert events.is_file()


def test_a_pipeline(tmp_path: Path, warm: list[str]) -> None:
    check = "import json, sys; assert json.loads(sys.stdin.readline())['metrics']['accuracy'] > 0.8"
    dlkit = shlex.join(warm)
    script = (
        f'set -eo pipefail; {dlkit} train digits-mlp train.epochs=6 | {dlkit} eval - | {sys.executable} -c "{check}"'
    )
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "epoch 6/6 step 138/138" in result.stderr
    assert "\x1b" not in result.stderr


# ------------------------------------------------------------------ the user's own data
