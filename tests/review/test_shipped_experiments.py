"""The experiments that come with dlkit, with results put in place of training: none of their verdicts is wired in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dlkit.app.arm_runs import recipes_of
from dlkit.review.claim import Claim, Experiment
from dlkit.review.expectation import QUANTITIES
from dlkit.review.find import list_claims
from dlkit.review.judged_experiment import judge_experiment
from dlkit.sweep.trials import Trial, TrialResult

EXPERIMENTS = [claim for claim in list_claims() if isinstance(claim.test, Experiment)]


def results(experiment: Experiment, size: float, seed: int = 0) -> list[TrialResult]:
    """Runs whose arms differ, in the claimed direction, by `size` times what matters, and a little noise."""
    random = np.random.default_rng(seed)
    weights = {name: weight for name, weight in experiment.expect.weights if name not in QUANTITIES}
    effect = size * experiment.smallest / sum(weight**2 for weight in weights.values())
    found: list[TrialResult] = []
    for arm in experiment.arms:
        for run in range(experiment.seeds):
            value = 0.5 + weights.get(arm.name, 0) * effect + random.normal(0, experiment.smallest / 20)
            metrics = {experiment.measure: float(value)}
            trial = Trial(arm.name, 0.1, run)
            found.append(TrialResult(trial, 10, float(value), metrics, [(10, metrics)]))
    return found


def verdict(claim: Claim, outcomes: Sequence[TrialResult], claims: int = 1) -> str:
    assert isinstance(claim.test, Experiment)
    quantities = dict.fromkeys(claim.test.expect.quantities, 0.5)  # where arms without an effect lie
    return judge_experiment(claim.test, outcomes, claims, quantities).judgement.verdict


@pytest.mark.parametrize("claim", EXPERIMENTS, ids=lambda claim: claim.name)
def test_effect_decides(claim: Claim) -> None:
    assert isinstance(claim.test, Experiment)
    assert verdict(claim, results(claim.test, 3)) == "supported"
    assert verdict(claim, results(claim.test, -3)) == "contradicted"  # the arms swapped
    assert verdict(claim, results(claim.test, 0)) == "not supported"  # the effect removed
    assert verdict(claim, results(claim.test, 0.6)) == "not supported"  # there, but too small to matter


@pytest.mark.parametrize("claim", EXPERIMENTS, ids=lambda claim: claim.name)
def test_compared_arms_are_other_trainings(claim: Claim) -> None:
    """Each arm changes what is trained, in the way that its own lines say and in no other."""
    assert isinstance(claim.test, Experiment)
    recipes = recipes_of(claim.test).arms
    flat = {arm: dict(_flat(recipe.values)) for arm, recipe in recipes.items()}
    assert len({repr(values) for values in flat.values()}) == len(flat)
    changed = {change.partition("=")[0] for arm in claim.test.arms for change in arm.changes}
    for values in flat.values():
        for other in flat.values():
            different = {key for key in values.keys() | other.keys() if values.get(key) != other.get(key)}
            sections = {key.partition(".")[0] for key in changed}
            assert all(key in changed or key.partition(".")[0] in sections for key in different)


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


@pytest.mark.slow
@pytest.mark.parametrize("claim", EXPERIMENTS, ids=lambda claim: claim.name)
def test_equal_arms_are_supported_in_at_most_5_percent(claim: Claim) -> None:
    """200 repetitions, with noise so large that what matters is often reached by chance."""
    assert isinstance(claim.test, Experiment)
    supported = 0
    for repetition in range(200):
        random = np.random.default_rng(repetition)
        outcomes = results(claim.test, 0, repetition)
        for outcome in outcomes:
            outcome.loss = float(random.normal(0.5, 10 * claim.test.smallest))
            outcome.metrics = {claim.test.measure: outcome.loss}
            outcome.curve = [(10, outcome.metrics)]
        supported += verdict(claim, outcomes) == "supported"
    assert supported <= 10


def test_run_that_diverged_leaves_no_verdict() -> None:
    experiment = EXPERIMENTS[0].test
    assert isinstance(experiment, Experiment)
    outcomes = results(experiment, 3)
    outcomes[0].diverged = True
    assert verdict(EXPERIMENTS[0], outcomes) == "cannot tell"
