"""The fastest engine on this machine, by timing a few steps of each in turn, so that other load slows all alike."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dlkit import memory
from dlkit.sweep.engines import stack_trial
from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.engines.step_times import lone_step_times, stacked_step_times
from dlkit.sweep.trials import Trial
from dlkit.vectorized import graph_replay, stackable

# After a warm-up, an engine's time is that of the best of a few rounds of a few steps.
WARM_UP, ROUNDS, STEPS = 2, 5, {"loop": 4, "workers": 4, "stacked": 1}
# Timing stops at this share of the estimated duration of the sweep by the fastest engine so far; a larger stack is not
# tried if that alone would exceed it.
SHARE = 0.04
# Stacks and processes also take time to start, so they must beat the loop by this factor.
MARGIN = 0.9
# Smaller stacks are not tried if larger ones fit.
SMALLEST_STACK = 8
# Steps of a stack before its CUDA graph replays; the last of them records it.
RECORDED_FROM = graph_replay.WARM_UP
# A learning rate at which no run diverges; the duration of a step does not depend on it.
HARMLESS = 1e-9
# Sweeps that the loop runs in fewer seconds are not worth timing.
SHORTEST = 2.0
# Seconds until a worker process has imported torch, and the slowdown of runs that share the memory bus.
WORKERS_START, WORKERS_SLOWER = 4.0, 1.15

Candidate = tuple[str, int]  # engine, runs trained at once
StepTimes = dict[Candidate, Iterator[float]]  # the duration of each step, in seconds


@dataclass(frozen=True)
class EngineChoice:
    """The fastest engine, the runs per stack if it is `stacked`, and the seconds that each engine would take.

    `obstacle` says why runs cannot be stacked, if they cannot.
    """

    engine: str
    size: int | None
    estimates: dict[str, float]
    obstacle: str | None = None


def fastest_engine(
    trials: Sequence[Trial], build: BuildTrial, processes: int, shortest: float = SHORTEST
) -> EngineChoice:
    """Time a few steps of each engine.

    Args:
        trials: the runs; for engines that train runs singly, the middle one represents them all.
        build: makes the training of a trial.
        processes: of the `workers` engine, which is timed as the loop on one thread.
        shortest: seconds below which the loop is taken without timing the others.
    """
    example = dataclasses.replace(trials[len(trials) // 2], lr=HARMLESS)
    training = build(example)
    device, total = training.device, training.total_steps * len(trials)
    candidates: StepTimes = {("loop", 1): lone_step_times(build, example, torch.get_num_threads())}
    loop_step = _fastest_step(candidates["loop", 1], "loop", 1, WARM_UP)
    if loop_step * total < shortest:
        return EngineChoice("loop", None, {"loop": loop_step * total})
    if processes > 1:
        candidates["workers", 1] = lone_step_times(build, example, 1)
    if (obstacle := stacking_obstacle(trials, build)) is None:
        candidates |= _stacks(trials, build)
    best, setup = _rounds(candidates, total, device)
    candidates.clear()  # frees the stacks
    estimates: dict[str, float] = {}
    for (name, size), seconds in best.items():
        estimate = seconds * total
        if device.type == "cuda":  # where setup is a large part of a sweep
            count = math.ceil(len(trials) / size)
            estimate += count * (setup if name == "stacked" else _build_seconds(build, example))
        estimates[name] = min(estimate, estimates.get(name, math.inf))
    if "workers" in estimates:
        estimates["workers"] = WORKERS_START + WORKERS_SLOWER * estimates["workers"] / processes
    engine = min(estimates, key=lambda name: estimates[name] * (MARGIN if name == "loop" else 1))
    if device.type == "cuda":
        memory.release_memory()
    return EngineChoice(engine, _size(best), estimates, obstacle)


def stacking_obstacle(trials: Sequence[Trial], build: BuildTrial) -> str | None:
    """Why these runs cannot be stacked, or None. One run per optimizer is examined; code of the user's own is tried."""
    training, foreign = build(trials[0]), False
    for trial in {trial.optimizer: trial for trial in trials}.values():
        training = build(trial)
        foreign |= stack_trial.has_foreign_code(training)
        if not getattr(training.optimizer, "elementwise", False):
            break  # this one cannot; in everything else they are alike
    obstacle = stackable.why_not_stackable(training)
    if obstacle is None and foreign:
        obstacle = stack_trial.mapping_obstacle(trials, build)
    return obstacle


def best_stack_size(trials: Sequence[Trial], build: BuildTrial) -> int:
    """The fastest number of runs per stack.

    Small models need large stacks to keep the kernels busy; stacks of larger models outgrow the caches.
    """
    candidates = _stacks(trials, build)
    if len(candidates) == 1:
        return next(iter(candidates))[1]
    training = build(trials[0])
    size = _size(_rounds(candidates, training.total_steps * len(trials), training.device)[0])
    assert size is not None
    return size


def _build_seconds(build: BuildTrial, trial: Trial) -> float:
    """Seconds to build a run."""
    started = time.perf_counter()
    build(trial)
    return time.perf_counter() - started


def _size(best: dict[Candidate, float]) -> int | None:
    stacks = {size: seconds for (name, size), seconds in best.items() if name == "stacked"}
    return min(stacks, key=lambda size: stacks[size]) if stacks else None


def _rounds(candidates: StepTimes, total: int, device: torch.device) -> tuple[dict[Candidate, float], float]:
    """The least seconds per step and run of each candidate, and the seconds to set up the last stack.

    Candidates take turns; the minimum is taken since other load can only add to a time. Setting up is building,
    warming up and recording. A stack that does not fit into memory is left out.
    """
    started, setup = time.perf_counter(), 0.0
    best: dict[Candidate, float] = {}
    for name, size in candidates:
        smaller = [seconds for (other, _), seconds in best.items() if other == "stacked"]
        if name == "stacked" and smaller:
            cost = (WARM_UP + 1) * size * min(smaller)
            if cost > SHARE * total * min(best.values()):
                continue
        unrecorded = RECORDED_FROM if name == "stacked" and device.type == "cuda" else 0
        began = time.perf_counter()
        try:
            best[name, size] = _fastest_step(candidates[name, size], name, size, WARM_UP + unrecorded)
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
        if name == "stacked":
            setup = time.perf_counter() - began
    for _ in range(ROUNDS - 1):
        if time.perf_counter() - started > SHARE * total * min(best.values()):
            break
        for (name, size), seconds in best.items():
            best[name, size] = min(seconds, _fastest_step(candidates[name, size], name, size))
    return best, setup


def _fastest_step(steps: Iterator[float], name: str, size: int, warm_up: int = 0) -> float:
    """The least seconds per step and run among a few steps."""
    for _ in range(warm_up):
        next(steps)
    return min(next(steps) for _ in range(STEPS[name])) / size


def _stacks(trials: Sequence[Trial], build: BuildTrial) -> StepTimes:
    """Stacks of several sizes, smallest first: as many runs as fit into memory, a third of that, and so on.

    On CUDA only the largest, with runs spread evenly over the stacks: the number of kernels is the same for any size,
    and there is no cache to outgrow.
    """
    training = build(trials[0])
    most, runs = stackable.runs_at_once(training), len(trials)
    if training.device.type == "cuda":
        sizes = [math.ceil(runs / math.ceil(runs / most))]
    else:
        sizes = [min(runs, most)]
        while sizes[-1] // 3 >= SMALLEST_STACK:
            sizes.append(sizes[-1] // 3)
    return {("stacked", size): stacked_step_times(trials[:size], build) for size in reversed(sizes)}
