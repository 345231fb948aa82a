"""Whole runs on CIFAR-10 by the recipe `cifar10-fast`, beside airbench94 in bare torch: accuracy and seconds.

A run's time is that of its steps and of its evaluation with six views. What comes before (reading the images, and a
first run of an epoch, in which kernels are chosen) is its warm-up, and is told apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from dlkit import recipe as recipes
from dlkit.assemble import assemble_training
from dlkit.data import store
from dlkit.data.dataset import Dataset
from dlkit.data.images.cifar import cifar10
from dlkit.doctor.bench import Bench
from dlkit.doctor.clock import wait
from dlkit.doctor.finding import Finding, judged, skipped
from dlkit.doctor.image_speed import normalised
from dlkit.doctor.twins import airbench
from dlkit.tasks.array_data import ArrayData
from dlkit.train.events import Finished
from dlkit.train.loop import fit

SLOWER, WORSE = 1.1, 0.005  # than airbench94, at most: in time, and in mean accuracy
_SUBJECT, _EXPECTED = "whole runs", f"<= {SLOWER:g} of airbench94's time, accuracy within {WORSE:g}"

Run = Callable[[int], tuple[float, float]]  # a seed to seconds and accuracy


def measure(bench: Bench) -> Iterator[Finding]:
    """One finding, of some runs of each, which take turns."""
    if not bench.on_gpu:
        yield skipped(_SUBJECT, _EXPECTED, "a whole run takes a CPU minutes")
    elif store.find("cifar10") is None:
        yield skipped(_SUBJECT, _EXPECTED, "not downloaded: dlkit download cifar10")
    else:
        yield compared(bench, cifar10(), runs=2 if bench.quick else 4)


def compared(bench: Bench, data: Dataset, runs: int) -> Finding:
    """Runs of both on a data set with a test split."""
    begun = time.perf_counter()
    ways: dict[str, Run] = {"dlkit": _ours(bench, data), "airbench94": _theirs(bench, data)}
    _ours(bench, data, epochs=1)(0)
    _theirs(bench, data, epochs=1)(0)
    warm_up = time.perf_counter() - begun
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for seed in range(runs):
        for name, run in ways.items():
            told[name].append(run(seed))
    seconds = {name: statistics.median(s for s, _ in each) for name, each in told.items()}
    accuracy = {name: statistics.fmean(a for _, a in each) for name, each in told.items()}
    ratio, worse = seconds["dlkit"] / seconds["airbench94"], accuracy["airbench94"] - accuracy["dlkit"]
    got = ", ".join(f"{name} {accuracy[name]:.4f} in {seconds[name]:.3g} s" for name in ways)
    return judged(
        f"{runs} {_SUBJECT}", _EXPECTED, got, ratio <= SLOWER and worse <= WORSE,
        ratio=ratio, seconds_of_run=seconds, accuracy=accuracy, runs=told, n=runs, warm_up_seconds=warm_up,
    )  # fmt: skip


def _ours(bench: Bench, data: Dataset, epochs: int | None = None) -> Run:
    def run(seed: int) -> tuple[float, float]:
        length = [] if epochs is None else [f"train.epochs={epochs}", "data.grow_epochs=0"]
        recipe = recipes.load("cifar10-fast", [f"seed={seed}", "train.precision=bf16", *length])
        training = assemble_training(recipe, bench.device, dataset=ArrayData(data)).training
        wait(bench.device)
        started = time.perf_counter()
        (end,) = (event for event in fit(training) if isinstance(event, Finished))
        wait(bench.device)
        return time.perf_counter() - started - end.warm_up, end.metrics["test/accuracy"]

    return run


def _theirs(bench: Bench, data: Dataset, epochs: int = airbench.EPOCHS) -> Run:
    splits: Any = {
        name: (normalised(split.inputs, data, bench), split.targets.to(bench.device))
        for name, split in data.splits.items()
    }

    def run(seed: int) -> tuple[float, float]:
        images, targets = splits["train"]
        torch.manual_seed(seed)
        wait(bench.device)
        started = time.perf_counter()
        model = airbench.trained(images, targets, epochs)
        right = airbench.accuracy(model, *splits["test"]).item()
        return time.perf_counter() - started, right

    return run
