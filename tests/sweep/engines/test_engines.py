"""The three engines give the same runs, and stacked runs do not know of each other."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit import recipe
from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.doctor.checks.stacks import stackable_optimizers
from dlkit.errors import DivergedError
from dlkit.sweep.engines import engine_choice, stacked
from dlkit.sweep.engines.loop import run_in_loop
from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.engines.stacked import run_stacked
from dlkit.sweep.engines.step_times import stacked_step_times
from dlkit.sweep.events import SweepEvent
from dlkit.sweep.trials import Trial, TrialResult, trial_grid
from dlkit.training.loop import fit
from dlkit.vectorized import stackable

OPTIMIZERS = list(stackable_optimizers())
FIXED = ["train.epochs=null", "train.steps=2", "train.eval_every=2 steps", "train.log_every=2", "train.precision=fp32"]
FIXED += ["train.compile=off", "train.channels_last=off"]
ComparisonOf = Callable[..., OptimizerComparison]


def one_stack(comparison: OptimizerComparison, trials: list[Trial]) -> list[TrialResult]:
    return finished(stacked._one_stack(trials, comparison.training, StackCheckpoints()))


def finished(events: Iterable[SweepEvent]) -> list[TrialResult]:
    return [event for event in events if isinstance(event, TrialResult)]


def assert_same(a: TrialResult, b: TrialResult, tolerance: float = 1e-6) -> None:
    assert a.trial == b.trial
    assert a.diverged == b.diverged
    if not a.diverged:
        assert a.loss == pytest.approx(b.loss, rel=tolerance)
        assert a.metrics["val/loss"] == pytest.approx(b.metrics["val/loss"], rel=tolerance)
        assert a.metrics["val/accuracy"] == pytest.approx(b.metrics["val/accuracy"])


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("model.norm=batch",),
        ("model.dropout=0.3", "model.hidden=[32, 16]"),
        ("schedule={name: cosine, warmup: 0.3}", "loss.label_smoothing=0.1", "loss.l2=1e-3"),
        ("model={name: cnn, channels: [4, 8]}",),
        ("model={name: cnn, channels: [4, 8], dropout: 0.5, norm: batch}", "data.batch_size=300"),
        ("model={name: resnet, depths: [1], widths: [4]}", "data.batch_size=300"),
    ],
    ids=["mlp", "batch-norm", "dropout", "schedule-l2", "cnn", "cnn-dropout", "resnet-partial-batches"],
)
def test_a_stacked_run_equals_its_lone_twin(comparison: ComparisonOf, changes: tuple[str, ...]) -> None:
    race = comparison(*changes)
    trials = [c for name in OPTIMIZERS for c in trial_grid([name], [1e-3, 1e-2], 2)]
    together = one_stack(race, trials)
    alone = finished(run_in_loop(trials, race.training))
    for a, b in zip(together, alone, strict=True):
        assert_same(a, b)
    assert len({round(o.loss, 6) for o in together}) > len(trials) // 2


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_language_models_stack(dropout: float) -> None:
    model = f"model={{name: gpt, layers: 2, heads: 2, width: 32, dropout: {dropout}, attention_dropout: 0.0}}"
    changes = [*FIXED, model, "data={name: pydoc, batch_size: 4, context: 128, stride: 100}", "train.clip_norm=null",
               "tokenizer.vocab_size=300", "train.steps=2", "train.eval_every=2 steps",
               "train.log_every=2"]  # fmt: skip
    names = ["momentum", "adamw"]
    recipes = {name: recipe.load("pydoc-gpt", [f"optimizer={{name: {name}}}", *changes]) for name in names}
    race = OptimizerComparison(recipes, torch.device("cpu"))
    trials = trial_grid(names, [1e-2], 2)
    assert stackable.why_not_stackable(race.training(trials[0])) is None
    for a, b in zip(one_stack(race, trials), finished(run_in_loop(trials, race.training)), strict=True):
        assert_same(a, b, 1e-5)
    changed = recipe.load("pydoc-gpt", [*changes, "model.attention_dropout=0.1"])
    attending = OptimizerComparison({"adamw": changed}, torch.device("cpu")).training(Trial("adamw", 0.1, 0))
    assert "random numbers" in (stackable.why_not_stackable(attending) or "")


def test_masked_language_models_are_not_stacked() -> None:
    """Their batches say at which positions they predict, and how many these are differs."""
    small = "model={name: bert, layers: 1, heads: 2, width: 16, dropout: 0.0, attention_dropout: 0.0}"
    changes = [small, "data={name: pydoc, batch_size: 2, context: 32}", "tokenizer.vocab_size=300"]
    race = OptimizerComparison(
        {"adamw": recipe.load("pydoc-bert", ["optimizer={name: adamw}", *FIXED, *changes])}, torch.device("cpu")
    )
    assert "more than inputs" in (stackable.why_not_stackable(race.training(Trial("adamw", 0.1, 0))) or "")


def test_dropout_is_drawn_anew_at_every_step_and_for_every_seed(comparison: ComparisonOf) -> None:
    race = comparison("model.dropout=0.5", optimizers=["sgd"])
    members = stack_members(trial_grid(["sgd"], [1e-9], 3), race.training)
    for training in members.of_seeds[1:]:  # one model and one batch for all, so that only the dropout masks differ
        training.model.load_state_dict(members.of_seeds[0].model.state_dict())
    stack = stacked.StackedRuns(members)
    _, drawn = next(stack.batches())
    batch = drawn.map(lambda values: values[:1].expand_as(values))
    losses = torch.stack([stack.take_step(step, batch) for step in range(3)])
    assert len(set(losses.flatten().tolist())) == 9


class Noisy(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + torch.rand_like(x))


def test_other_random_layers_are_not_stacked(comparison: ComparisonOf) -> None:
    race = comparison("model.dropout=0.5", "model.norm=batch", optimizers=["sgd"])
    training = race.training(Trial("sgd", 0.1, 0))
    state, before = torch.get_rng_state(), copy.deepcopy(training.model.state_dict())
    assert stackable.why_not_stackable(training) is None
    training.model = Noisy(training.model)
    assert "random numbers" in (stackable.why_not_stackable(training) or "")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in training.model.model.state_dict().items())


def test_who_diverges_hurts_nobody_else(comparison: ComparisonOf) -> None:
    race = comparison(optimizers=["sgd", "adam"])
    calm = trial_grid(["sgd", "adam"], [1e-2], 2)
    wild = sorted([*calm, Trial("sgd", 1e30, 0), Trial("sgd", 1e30, 1)], key=lambda c: (c.optimizer, c.lr))
    outcomes = {o.trial: o for o in one_stack(race, wild)}
    for expected in one_stack(race, calm):
        assert_same(outcomes[expected.trial], expected)
    for seed in (0, 1):
        outcome = outcomes[Trial("sgd", 1e30, seed)]
        assert outcome.diverged
        assert math.isnan(outcome.loss)
        assert outcome.metrics == {}


def test_weights_and_order_depend_on_the_seed_only(comparison: ComparisonOf) -> None:
    race = comparison()
    for seed in (0, 1):
        trainings = [race.training(Trial(name, lr, seed)) for name, lr in (("sgd", 0.1), ("adam", 0.01))]
        first, second = (training.model.state_dict() for training in trainings)
        assert all(torch.equal(first[name], second[name]) for name in first)
        batches = [next(iter(training.batches.epoch(0))) for training in trainings]
        assert torch.equal(*(batch.inputs for batch in batches))
    a, b = (race.training(Trial("sgd", 0.1, seed)) for seed in (0, 1))
    assert not torch.equal(a.model.state_dict()["mlp.0.weight"] if "mlp.0.weight" in a.model.state_dict() else
                           next(iter(a.model.parameters())), next(iter(b.model.parameters())))  # fmt: skip


def test_stacks_of_any_size_give_the_same(comparison: ComparisonOf, monkeypatch: pytest.MonkeyPatch) -> None:
    race = comparison(optimizers=["momentum"])
    trials = trial_grid(["momentum"], [1e-3, 1e-2], 3)
    whole = finished(run_stacked(trials, race.training))
    monkeypatch.setattr(stackable, "runs_at_once", lambda training: 4)
    for a, b in zip(finished(run_stacked(trials, race.training)), whole, strict=True):
        assert_same(a, b)


@pytest.mark.slow
def test_workers_give_what_the_loop_gives(comparison: ComparisonOf) -> None:
    race = OptimizerComparison(comparison(optimizers=["sgd", "adam"]).recipes, torch.device("cpu"))
    trials = trial_grid(["sgd", "adam"], [1e-2], 2)
    found = {o.trial: o for o in finished(race.workers(trials, 2))}
    for expected in finished(run_in_loop(trials, race.training)):
        assert_same(found[expected.trial], expected, 1e-4)


def test_an_engine_is_chosen_where_every_run_diverges(comparison: ComparisonOf) -> None:
    trials = trial_grid(["sgd"], [1e30], 2)
    assert engine_choice.fastest_engine(trials, comparison().training, 1, shortest=0).engine in ("loop", "stacked")


@pytest.mark.parametrize("at", [0, 1])
def test_an_engine_is_chosen_where_no_rate_is_harmless(
    comparison: ComparisonOf, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """An optimizer of the user's own may diverge in its first step, or in what comes behind it."""
    race = comparison("train.ema=0.9", optimizers=["sgd"])  # no stacks

    def diverging(training: Any) -> Iterator[Any]:
        yield from itertools.islice(fit(training), at)
        raise DivergedError("not finite", "")

    monkeypatch.setattr("dlkit.sweep.engines.step_times.fit", diverging)
    choice = engine_choice.fastest_engine(trial_grid(["sgd"], [0.1], 2), race.training, 1, shortest=0)
    assert choice.engine == "loop"


def test_the_fastest_engine_is_chosen_from_those_that_can(comparison: ComparisonOf) -> None:
    race = comparison(optimizers=["sgd"])
    trials = trial_grid(["sgd"], [1e-2], 4)
    choice = engine_choice.fastest_engine(trials, race.training, 1, shortest=0)
    assert set(choice.estimates) == {"loop", "stacked"}
    assert choice.estimates[choice.engine] <= min(choice.estimates.values()) / engine_choice.MARGIN
    assert choice.size == 4
    clipped = comparison("train.ema=0.9", optimizers=["sgd"])
    assert set(engine_choice.fastest_engine(trials, clipped.training, 2, shortest=0).estimates) == {"loop", "workers"}


def test_a_race_changes_none_of_its_trainings(comparison: ComparisonOf) -> None:
    race = comparison(optimizers=["sgd"])
    training = race.training(Trial("sgd", 0.1, 0))
    before = copy.deepcopy(training.model.state_dict())
    next(stacked_step_times([Trial("sgd", 0.1, 0)], lambda _: training))
    assert all(torch.equal(before[name], value) for name, value in training.model.state_dict().items())


def test_gradients_are_clipped_run_by_run(comparison: ComparisonOf) -> None:
    race = comparison("train.clip_norm=0.05", "model.norm=batch", "model.hidden=[32, 16]")
    trials = [c for name in OPTIMIZERS for c in trial_grid([name], [1e-2], 2)]
    together = one_stack(race, trials)
    for a, b in zip(together, finished(run_in_loop(trials, race.training)), strict=True):
        assert_same(a, b)
    free = one_stack(comparison("model.norm=batch", "model.hidden=[32, 16]"), trials)
    assert all(a.loss != b.loss for a, b in zip(together, free, strict=True) if a.trial.optimizer == "sgd")


def test_gradients_come_as_their_parameters_lie(comparison: ComparisonOf) -> None:
    """So that none of them is copied, and the optimizers' kernels take them."""
    race = comparison("model.norm=batch")
    stack = stacked.StackedRuns(stack_members(trial_grid(OPTIMIZERS, [1e-2], 2), race.training))
    _, batch = next(stack.batches())
    batches_seen = [value for name, value in stack.buffers.items() if name.endswith("num_batches_tracked")]
    assert not any(int(value.sum()) for value in batches_seen)  # looking at a gradient has left no trace
    batch = stack.of_runs(batch, stack.seeds)
    stack._losses(stack.parameters, stack.buffers, stack.seeds, *batch).sum().backward()
    transposed = 0
    for parameter in stack.parameters.values():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()
        transposed += not parameter.is_contiguous()
    assert transposed == 3  # the weights of the three linear layers
