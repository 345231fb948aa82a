"""Stacks as they are on CUDA: the same numbers, no question to the device, sizes by what is free."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.data.batch import Batch
from dlkit.doctor.checks.stacks import stackable_optimizers
from dlkit.sweep.engines import engine_choice, stacked, step_times
from dlkit.sweep.engines.loop import run_in_loop
from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.engines.stacked import run_stacked
from dlkit.sweep.engines.step_times import lone_step_times
from dlkit.sweep.events import StackHalved, StackNotRecorded
from dlkit.sweep.trials import Trial, TrialResult, trial_grid
from dlkit.training.events import StepDone
from dlkit.training.loop import Training
from dlkit.vectorized import convolution, stackable
from dlkit.vectorized import stacked_runs as stacks
from dlkit.vectorized.graph_replay import GraphReplay
from dlkit.vectorized.stacked_optimizer import BatchedOptimizer

OPTIMIZERS = list(stackable_optimizers())
ComparisonOf = Callable[..., OptimizerComparison]


def finished(events: Any) -> dict[Trial, TrialResult]:
    return {event.trial: event for event in events if isinstance(event, TrialResult)}


def assert_same(a: TrialResult, b: TrialResult) -> None:
    assert (a.trial, a.diverged) == (b.trial, b.diverged)
    for name in ("val/loss", "val/accuracy"):
        assert a.metrics[name] == pytest.approx(b.metrics[name], rel=1e-6)


def on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks as they are on CUDA, but for the graphs: updates by kind, convolutions as products."""
    original = stacks.StackedRuns._lay_out

    def lay_out(self: stacks.StackedRuns, batch: Batch) -> None:
        convolution.use_batched_convolutions(self.model)
        original(self, batch)

    monkeypatch.setattr(stacks.StackedRuns, "_lay_out", lay_out)
    monkeypatch.setattr(stacks, "GroupwiseOptimizer", BatchedOptimizer)


@pytest.mark.parametrize(
    "changes",
    [
        ("model.dropout=0.3", "model.hidden=[32, 16]", "train.clip_norm=0.05"),
        ("model={name: cnn, channels: [4, 8], dropout: 0.5, norm: batch}", "data.batch_size=300"),
        ("model={name: resnet, depths: [1], widths: [4]}", "data.batch_size=300", "data.shift=1", "data.flip=true"),
    ],
    ids=["mlp", "cnn-dropout", "resnet-partial-batches"],
)
def test_stacks_as_on_cuda_equal_their_lone_twins(
    comparison: ComparisonOf, changes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpus(monkeypatch)
    race = comparison(*changes)
    trials = trial_grid(OPTIMIZERS, [1e-2], 2)
    together = finished(run_stacked(trials, race.training))
    for trial, alone in finished(run_in_loop(trials[::3], race.training)).items():
        assert_same(together[trial], alone)


class Asked(TorchDispatchMode):
    """Which operations hand a number to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(part in str(func) for part in ("local_scalar", "nonzero", "masked_select", "is_nonzero", "equal.")):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet"])
def test_a_step_of_a_stack_asks_the_device_for_nothing(
    comparison: ComparisonOf, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpus(monkeypatch)
    sizes = {"mlp": "", "cnn": ", channels: [4]", "resnet": ", depths: [1], widths: [4]"}
    race = comparison(f"model={{name: {model}{sizes[model]}}}", "train.clip_norm=1", "data.shift=1")
    stack = stacked.StackedRuns(stack_members(trial_grid(OPTIMIZERS, [1e-2], 2), race.training))
    batches = stack.batches()
    for _ in range(2):
        stack.take_step(*next(batches))
    stack.evaluation.measure()
    with Asked() as asked:
        stack.take_step(*next(batches))
    assert asked.names == []
    with Asked() as asked:
        stack.evaluation.measure()
    # tolist() does not come by here: what is measured is only read at the end
    assert asked.names == []


def test_one_run_a_seed_and_one_a_setting_are_built(comparison: ComparisonOf) -> None:
    race = comparison(optimizers=["sgd", "adam"])
    built: list[Trial] = []

    def build_one(trial: Trial) -> Training:
        built.append(trial)
        return race.training(trial)

    trials = trial_grid(["sgd", "adam"], [1e-3, 1e-2, 0.1], 4)
    members = stack_members(trials, build_one)
    assert len(built) == 4 + 6 - 1
    assert [trial.seed for trial in built[:4]] == [0, 1, 2, 3]
    assert [stop - start for start, stop in members.groups] == [4] * 6
    assert [t.optimizer.param_groups[0]["lr"] for t in members.of_groups] == [1e-3, 1e-2, 0.1] * 2


class Narrow(stacks.StackedRuns):
    """A stack on a device with room for three runs, which is noticed in its second step."""

    def take_step(self, step: int, batch: Any) -> Tensor:
        if step and len(self.seeds) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().take_step(step, batch)


def test_a_stack_that_does_not_fit_begins_again_smaller(
    comparison: ComparisonOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    race = comparison(optimizers=["sgd", "adam"])
    trials = trial_grid(["sgd", "adam"], [1e-2], 5)
    whole = finished(run_stacked(trials, race.training, StackCheckpoints(tmp_path)))
    monkeypatch.setattr(stacked, "StackedRuns", Narrow)
    events = list(run_stacked(trials, race.training, StackCheckpoints(tmp_path), 7))
    assert [event for event in events if isinstance(event, StackHalved)] == [StackHalved(7, 3)]
    assert list(finished(events)) == trials
    for trial, outcome in finished(events).items():
        assert_same(outcome, whole[trial])
    monkeypatch.setattr(Narrow, "take_step", lambda self, step, batch: torch.empty(2**60))
    with pytest.raises(RuntimeError, match="memory"):
        list(run_stacked(trials[:1], race.training, StackCheckpoints(tmp_path)))


def obstructed(self: GraphReplay, function: Any, device: Any, masks: Any = None, beside: Any = None) -> None:
    self.function, self.device, self.masks = function, device, masks
    self.obstacle = "operation not permitted"


def test_why_steps_are_not_recorded_is_told(comparison: ComparisonOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphReplay, "__init__", obstructed)
    events = list(run_stacked(trial_grid(["sgd"], [1e-2], 2), comparison(optimizers=["sgd"]).training))
    assert [event.why for event in events if isinstance(event, StackNotRecorded)] == ["operation not permitted"]
    assert len(finished(events)) == 2


def test_an_engine_that_does_not_fit_is_not_chosen(comparison: ComparisonOf, monkeypatch: pytest.MonkeyPatch) -> None:
    race = comparison(optimizers=["sgd"])
    monkeypatch.setattr(step_times, "StackedRuns", Narrow)
    choice = engine_choice.fastest_engine(trial_grid(["sgd"], [1e-2], 4), race.training, 1, shortest=0)
    assert (choice.engine, choice.size, set(choice.estimates)) == ("loop", None, {"loop"})


def test_sizes_on_cuda_come_from_what_is_free_and_are_spread_evenly(
    comparison: ComparisonOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = comparison(optimizers=["sgd"])

    def on_cuda(trial: Trial) -> Training:
        training = race.training(trial)
        training.device = torch.device("cuda:0")
        return training

    heights = {stackable.FEW: 50 << 20, stackable.MORE: 90 << 20}  # 10 MiB a run, and 30 whatever they are
    monkeypatch.setattr(stackable, "_peak_bytes", lambda training, runs: heights[runs])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (900 << 20, 2000 << 20))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300 << 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200 << 20)
    assert stackable.bytes_of_run(on_cuda(Trial("sgd", 0.1, 0))) == 10 << 20
    assert stackable.runs_at_once(on_cuda(Trial("sgd", 0.1, 0))) == 70  # 0.7 of 1,000 MiB
    trials = trial_grid(["sgd"], [1e-2], 150)
    assert list(engine_choice._stacks(trials, on_cuda)) == [("stacked", 50)]

    def narrow(training: Training, runs: int) -> int:
        if runs > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return heights[runs]

    monkeypatch.setattr(stackable, "_peak_bytes", narrow)
    for most, at_once in ((stackable.FEW, 28), (1, 1)):  # noqa: B007
        assert stackable.runs_at_once(on_cuda(Trial("sgd", 0.1, 0))) == at_once


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", ["{name: mlp, dropout: 0.3}", "{name: cnn, channels: [4, 8], dropout: 0.5}"])
def test_a_recorded_stack_equals_its_lone_twins(comparison: ComparisonOf, model: str) -> None:
    race = comparison(f"model={model}", "train.steps=24", "data.batch_size=300", "train.clip_norm=0.5")
    race.device = torch.device("cuda")
    trials = trial_grid(OPTIMIZERS, [1e-3], 2)
    stack = stacks.StackedRuns(stack_members(trials, race.training))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step, batch in stack.batches():
            stack.take_step(step, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert stack.stepped.obstacle is None
    assert len(stack.stepped._recordings) == 2  # of whole batches and of the last one
    together = finished(run_stacked(trials, race.training))
    for trial, alone in finished(run_in_loop(trials[::2], race.training)).items():
        assert_same(together[trial], alone)


def test_a_step_is_timed_to_the_end_of_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launching takes a moment, what is launched a second."""
    now = [0.0]

    def spend(seconds: float) -> None:
        now[0] += seconds

    def fit(training: Any) -> Any:
        for step in range(3):
            spend(0.001)
            yield StepDone(step + 1, 0, 1, 0.1, None)

    monkeypatch.setattr(step_times.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(step_times, "fit", fit)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: spend(1.0))
    for device, seconds in (("cuda", 1.001), ("cpu", 0.001)):
        training: Any = SimpleNamespace(device=torch.device(device))
        steps = lone_step_times(lambda _, training=training: training, Trial("sgd", 0.1, 0), 1)
        assert [next(steps) for _ in range(4)] == pytest.approx([seconds] * 4)


@pytest.mark.parametrize(("steps", "engine"), [(200, "loop"), (20_000, "stacked")])
def test_what_comes_before_the_steps_counts_on_cuda(
    comparison: ComparisonOf, steps: int, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five stacks of 5 s before the first step pay for runs of many steps only."""
    race = comparison(f"train.steps={steps}", optimizers=["sgd"])

    def on_cuda(trial: Trial) -> Training:
        training = race.training(trial)
        training.device = torch.device("cuda:0")
        return training

    trials = trial_grid(["sgd"], [1e-2], 50)
    monkeypatch.setattr(engine_choice, "lone_step_times", lambda build, trial, threads: itertools.repeat(1e-3))
    monkeypatch.setattr(engine_choice, "_stacks", lambda trials, build: {("stacked", 10): itertools.repeat(1e-4)})
    monkeypatch.setattr(engine_choice, "stacking_obstacle", lambda trials, build: None)
    monkeypatch.setattr(engine_choice, "_build_seconds", lambda build, trial: 0.1)
    monkeypatch.setattr(engine_choice, "_rounds", lambda *_: ({("loop", 1): 1e-3, ("stacked", 10): 1e-5}, 5.0))
    choice = engine_choice.fastest_engine(trials, on_cuda, 1)
    total = 50 * steps
    assert choice.estimates == pytest.approx({"loop": 1e-3 * total + 50 * 0.1, "stacked": 1e-5 * total + 5 * 5.0})
    assert choice.engine == engine
