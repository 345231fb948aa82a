"""Races that nobody wins, since all runs diverge or end above where they began: no winner, and no exit code 0."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.sweep.engines.loop import run_in_loop
from dlkit.sweep.engines.stacked import run_stacked
from dlkit.sweep.trials import Trial, TrialResult
from tests.sweep.conftest import race_of

RACE = ("compare-optimizers", "digits-mlp", "--optimizers", "sgd,adam", "--seeds", "2", "model.hidden=[8]")
FAR = (*RACE, "--lr", "30,300", "--steps", "4")  # finite losses, far above ln 10
AWAY = (*RACE, "--lr", "1e30,1e32", "--steps", "1")  # nothing is finite, from the first evaluation on

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize("engine", ["loop", "stacked"])
@pytest.mark.parametrize("target", [(), ("--target", "val/accuracy=0.9")])
@pytest.mark.parametrize(("race", "text"), [(FAR, "no optimizer ends below 2."), (AWAY, "every run diverged")])
def test_nobody_is_named(here: Any, engine: str, target: tuple[str, ...], race: tuple[str, ...], text: str) -> None:
    result = here(*race, *target, "--engine", engine)
    assert result.code == 1
    *_, sgd, adam, verdict = result.records
    assert (verdict["winner"], verdict["tied"], verdict["basis"]) == (None, [], "none")
    assert text in verdict["text"]
    assert text in result.err
    assert [record.get("target_reached") for record in (sgd, adam)] == ([0, 0] if target else [None, None])


@pytest.mark.parametrize("race", [FAR, AWAY])
@pytest.mark.parametrize("assertion", ["sgd<=adam", "adam<=sgd", "adam<sgd"])
def test_nothing_is_asserted(here: Any, race: tuple[str, ...], assertion: str) -> None:
    result = here(*race, "--assert", assertion, "--allow-edge", "--engine", "stacked", "-q")
    assert (result.code, result.out) == (3, "none\n")
    assert f"the runs do not support {assertion}: " in result.err


def test_a_start_that_is_not_finite_has_diverged(here: Any) -> None:
    start = ("--start", "1e200,1e200", "--steps", "5", "--lr", "0.1", "--target", "loss=1")
    result = here("compare-optimizers", "rosenbrock", "--optimizers", "sgd,adam", *start)
    assert (result.code, result.records[-1]["winner"]) == (1, None)


def test_every_engine_knows_the_loss_before_the_first_step() -> None:
    race: OptimizerComparison = race_of("model.hidden=[8]", optimizers=["sgd", "adam"])
    trials = [Trial(name, 0.1, seed) for name in ("sgd", "adam") for seed in (0, 1)]
    for engine in (run_in_loop, run_stacked):
        results = [event for event in engine(trials, race.training) if isinstance(event, TrialResult)]
        assert len(results) == 4
        for result in results:
            training = race.training(result.trial)
            batches = list(training.evaluations["val"].epoch(0))
            inputs, targets = (torch.cat([getattr(b, name) for b in batches]) for name in ("inputs", "targets"))
            with torch.no_grad():
                loss = F.cross_entropy(training.model.eval()(inputs), targets).item()
            assert result.start["val/loss"] == pytest.approx(loss, rel=1e-7)
            assert math.isclose(TrialResult.of_record(result.record()).start["val/loss"], loss, rel_tol=1e-7)
