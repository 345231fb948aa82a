"""The experiments that come with dlkit, with results put in place of training: none of their verdicts is wired in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dlkit.review.claim import Claim, Experiment
from dlkit.review.find import list_claims
from dlkit.review.judged_experiment import judge_experiment
from dlkit.sweep.trials import Trial, TrialResult

EXPERIMENTS = [claim for claim in list_claims() if isinstance(claim.test, Experiment)]


def results(experiment: Experiment, sign: int, seed: int = 0) -> list[TrialResult]:
    """Runs whose arms differ by three times what matters, in the claimed direction times `sign`, and a little noise."""
    random = np.random.default_rng(seed)
    weights = dict(experiment.expect.weights)
    effect = 3 * sign * experiment.smallest / sum(weight**2 for weight in weights.values())
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
    return judge_experiment(claim.test, outcomes, claims).judgement.verdict


@pytest.mark.parametrize("claim", EXPERIMENTS, ids=lambda claim: claim.name)
def test_effect_decides(claim: Claim) -> None:
    assert isinstance(claim.test, Experiment)
    assert verdict(claim, results(claim.test, 1)) == "supported"
    assert verdict(claim, results(claim.test, -1)) == "contradicted"  # the arms swapped
    assert verdict(claim, results(claim.test, 0)) == "not supported"  # the effect removed


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
    outcomes = results(experiment, 1)
    outcomes[0].diverged = True
    assert verdict(EXPERIMENTS[0], outcomes) == "cannot tell"
