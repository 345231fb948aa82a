"""The number that an experiment compares, of one run. Free of torch and numpy."""

from __future__ import annotations

import math
import statistics

from dlkit.errors import RequestError
from dlkit.recipe import closest
from dlkit.sweep.trials import TrialResult

TRAIN_LOSS = "train/loss"  # the mean at the end of training: no evaluation has it


def measure_of(outcome: TrialResult, measure: str, at: int | str) -> float:
    """The measure of a run: of its last evaluation, of one on the way, or the mean over all; NaN where it diverged.

    Raises RequestError if there is no such measure or evaluation.
    """
    if outcome.diverged:
        return math.nan
    if measure == TRAIN_LOSS:
        return outcome.loss
    known = list(outcome.metrics)
    if measure not in known:
        raise RequestError(
            f"no measure {measure}{closest(measure, known)}", f"these are: {TRAIN_LOSS}, {', '.join(known)}"
        )
    if at == "end":
        return outcome.metrics[measure]
    curve = {step: metrics[measure] for step, metrics in outcome.curve}
    if at == "mean":
        return statistics.fmean(curve.values())
    if at not in curve:
        raise RequestError(f"no evaluation at step {at}", f"there were some at {', '.join(map(str, curve))}")
    return curve[int(at)]
