"""What the runs of an experiment came to: a number a run, and the judgement of their differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlkit.review.claim import Experiment
from dlkit.review.judgement import Judgement, judge_differences
from dlkit.review.measure import measure_of
from dlkit.strict_json import finite
from dlkit.sweep.trials import TrialResult


@dataclass(frozen=True)
class JudgedExperiment:
    """The judged runs of an experiment.

    Args:
        experiment: what was run.
        values: arm -> its measure at each seed.
        judgement: of the differences.
        seconds: all runs took together.
        quantities: of the data, that the arms are compared with, by name.
    """

    experiment: Experiment
    values: Mapping[str, Sequence[float]]
    judgement: Judgement
    seconds: float
    quantities: Mapping[str, float]

    def record(self) -> dict[str, Any]:
        """Its part of the claim's record."""
        found, experiment = self.judgement, self.experiment
        arms = {
            arm: {"mean": finite(statistics.fmean(values)), "sd": finite(_deviation(values)), "values": finite(values)}
            for arm, values in self.values.items()
        }
        return {
            "verdict": found.verdict, "expect": experiment.expect.text, "measure": experiment.measure,
            "at": experiment.at, "difference": finite(found.difference), "low": finite(found.low),
            "high": finite(found.high), "level": round(found.level, 6), "smallest": experiment.smallest,
            "seeds": len(next(iter(self.values.values()))), "seeds_needed": found.seeds_needed, "arms": arms,
            **({"quantities": dict(self.quantities)} if self.quantities else {}),
            **({"ood": experiment.ood} if experiment.ood else {}),
            **_first_of(experiment), "recipe": experiment.recipe,
            "changes": {arm.name: list(arm.changes) for arm in experiment.arms}, "seconds": round(self.seconds, 2),
        }  # fmt: skip


def _first_of(experiment: Experiment) -> dict[str, Any]:
    first = experiment.first
    return {} if first is None else {"first": {"recipe": first.recipe, "changes": list(first.variant.changes)}}


def judge_experiment(
    experiment: Experiment, outcomes: Sequence[TrialResult], claims: int, quantities: Mapping[str, float]
) -> JudgedExperiment:
    """Judge the finished runs of all arms.

    Args:
        experiment: what was run.
        outcomes: of every arm and seed.
        claims: how many are judged together.
        quantities: of the data, those that the expectation names.
    """
    seeds = sorted({outcome.trial.seed for outcome in outcomes})
    found = {
        (outcome.trial.optimizer, outcome.trial.seed): measure_of(outcome, experiment.measure, experiment.at)
        for outcome in outcomes
    }
    values = {arm.name: [found[arm.name, seed] for seed in seeds] for arm in experiment.arms}
    differences = [
        experiment.expect.contrast({**quantities, **{arm: values[arm][index] for arm in values}})
        for index in range(len(seeds))
    ]
    seconds = sum(outcome.seconds_share for outcome in outcomes)
    judgement = judge_differences(differences, experiment.smallest, claims)
    return JudgedExperiment(experiment, values, judgement, seconds, quantities)


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
