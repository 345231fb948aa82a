"""Runs per second of a sweep of 270 runs: by dlkit's stacks, by its loop, and by a loop in bare torch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.doctor.bench import Bench, bench_recipe
from dlkit.doctor.benchmarks.timing import Work, time_in_turns
from dlkit.doctor.finding import Finding
from dlkit.doctor.twins import loops
from dlkit.doctor.twins.convolutional import plain_mlp
from dlkit.sweep.engines.step_times import lone_step_times, stacked_step_times
from dlkit.sweep.trials import trial_grid
from dlkit.vectorized.stackable import runs_at_once

OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw")  # always these, so that speeds compare
RATES, SEEDS = 9, 5
GOAL = 10.0  # times the speed of the loop in bare torch
_HARMLESS = 1e-9  # a learning rate at which nothing diverges
_STEPS = 200  # per run


def benchmark_sweep(bench: Bench) -> Iterator[Finding]:
    """One finding, from the time per step of the largest stack that fits, and of lone runs."""
    hidden, batch = (256, 128), 64
    changes = [
        "data.validation=0.1",
        f"data.batch_size={batch}",
        f"model.hidden={list(hidden)}",
        "train.log_every=1000",
    ]
    recipes = {
        name: bench_recipe("digits-mlp", [*changes, f"optimizer.name={name}"], steps=_STEPS) for name in OPTIMIZERS
    }
    comparison = OptimizerComparison(recipes, bench.device)
    trials = trial_grid(list(OPTIMIZERS), [_HARMLESS * (i + 1) for i in range(RATES)], SEEDS)
    example = comparison.training(trials[0])
    size = min(len(trials), runs_at_once(example), bench.sized(gpu=len(trials), cpu=54))
    chosen = trials[:: max(1, len(trials) // size)][:size]
    stack = stacked_step_times(sorted(chosen, key=trials.index), comparison.training)
    images, classes = example.batches, 10

    def twin() -> Work:
        model = plain_mlp(next(iter(images.epoch(0))).inputs[0].numel(), hidden, classes).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=_HARMLESS, fused=True)
        batch = next(iter(images.epoch(0)))
        return loops.training_step(model, optimizer, lambda: (batch.inputs, batch.targets), dtype=None)

    lone = lone_step_times(comparison.training, trials[0], torch.get_num_threads())
    rounds = 20 if bench.quick else 60
    times = time_in_turns(
        {"stack": lambda: lambda: next(stack), "loop": lambda: lambda: next(lone), "bare loop": twin},
        bench.device,
        rounds,
        warm_up=5,
    )
    # runs per second: a run has _STEPS steps, and a stack takes one of each of its runs at once
    speeds = {name: 1e3 / (_STEPS * each.median) for name, each in times.items()}
    speeds["stack"] *= size
    ratio = speeds["stack"] / speeds["bare loop"]
    yield Finding(
        f"{len(trials)} runs of {_STEPS} steps, {size} at once",
        f">= {GOAL:g} of the bare loop" if bench.on_gpu else "",
        f"{speeds['stack']:,.3g} runs/s, {ratio:.1f} of {speeds['bare loop']:,.3g}; its own loop {speeds['loop']:,.3g}",
        ("pass" if ratio >= GOAL else "fail") if bench.on_gpu else "measured",
        {
            "unit": "runs/s",
            "speed": speeds["stack"],
            "ratio": ratio,
            "speeds": speeds,
            "at_once": size,
            "times": {name: each.numbers() for name, each in times.items()},
        },
    )
