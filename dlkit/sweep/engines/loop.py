"""The loop engine: runs that train one after another in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

from dlkit.errors import DivergedError, NotFiniteError
from dlkit.sweep.events import SweepEvent, TrialsAdvanced
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.training import rng
from dlkit.training.evaluate import EvaluationStoppedError, evaluate_split
from dlkit.training.events import Evaluated, Finished, StepDone
from dlkit.training.loop import fit
from dlkit.training.training import Training

BuildTrial = Callable[[Trial], Training]
MeasureTrial = Callable[[Trial, Training], dict[str, float]]


def run_trial(trial: Trial, build: BuildTrial, measure: MeasureTrial | None = None) -> Iterator[SweepEvent]:
    """Train one trial. Its result comes last, unless it was asked to stop. What it starts from may diverge as well.

    Args:
        trial: the run.
        build: makes its training.
        measure: more metrics of the trained model, unless it has diverged.
    """
    outcome, started = TrialResult.begin(trial, 0), time.perf_counter()
    try:
        training = build(trial)
        outcome.start = _metrics_at_start(training)
        for event in fit(training):
            if isinstance(event, StepDone):
                outcome.steps = event.step
                if event.metrics:
                    outcome.loss = event.metrics["train/loss"]
                yield TrialsAdvanced(event.step, [outcome])
            elif isinstance(event, Evaluated):
                outcome.curve.append((event.step, event.metrics))
                outcome.metrics = event.metrics
            elif isinstance(event, Finished) and event.reason == "stopped":
                return
        if measure is not None and all(map(math.isfinite, outcome.metrics.values())):
            outcome.metrics = {**outcome.metrics, **measure(trial, training)}
    except (DivergedError, NotFiniteError):
        outcome.loss = math.nan
    except EvaluationStoppedError:
        return
    outcome.diverged = not all(map(math.isfinite, (outcome.loss, *outcome.metrics.values())))
    if outcome.diverged:
        outcome.loss, outcome.metrics = math.nan, {}
    outcome.seconds_share = time.perf_counter() - started
    yield outcome


def _metrics_at_start(training: Training) -> dict[str, float]:
    """Metrics before the first step, of the split that is judged. Draws nothing at random that training would."""
    split, generators = training.judged, rng.get_states(training.device)
    meter = training.task.meter(training.device)
    batches, stops = training.evaluations[split], training.should_stop
    evaluate_split(training.model, batches, meter, training.autocast, training.world, stops)
    rng.set_states(*generators, training.device)
    return {f"{split}/{name}": value for name, value in meter.metrics().items()}


def run_in_loop(
    trials: Sequence[Trial], build: BuildTrial, measure: MeasureTrial | None = None
) -> Iterator[SweepEvent]:
    """Train the trials one after another, each as `run_trial` does."""
    for trial in trials:
        event: SweepEvent | None = None
        for event in run_trial(trial, build, measure):
            yield event
        if not isinstance(event, TrialResult):  # asked to stop
            return
