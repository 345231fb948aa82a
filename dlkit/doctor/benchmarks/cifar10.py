"""Whole runs on CIFAR-10 by the recipe `cifar10-fast`, beside airbench94 in bare torch: accuracy and seconds.

The time of a run is that of its steps and of the evaluation with six views. Reading the images, and a first run of one
epoch that selects kernels, are reported separately as warm-up.
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
from dlkit.doctor.benchmarks.images import normalised_images
from dlkit.doctor.benchmarks.timing import synchronize
from dlkit.doctor.finding import Finding, judged, skipped
from dlkit.doctor.twins import airbench
from dlkit.tasks.array_data import ArrayData
from dlkit.training.events import Finished
from dlkit.training.loop import fit

SLOWER, WORSE = 1.1, 0.005  # at most this factor slower than airbench94, and this much worse in mean accuracy
_SUBJECT, _EXPECTED = "whole runs", f"<= {SLOWER:g} of airbench94's time, accuracy within {WORSE:g}"

TimedRun = Callable[[int], tuple[float, float]]  # seed -> seconds, accuracy


def benchmark_cifar10(bench: Bench) -> Iterator[Finding]:
    """One finding, from a few runs of each, alternating."""
    if not bench.on_gpu:
        yield skipped(_SUBJECT, _EXPECTED, "a whole run takes a CPU minutes")
    elif store.find_manifest("cifar10") is None:
        yield skipped(_SUBJECT, _EXPECTED, "not downloaded: dlkit download cifar10")
    else:
        yield compare_runs(bench, cifar10(), runs=2 if bench.quick else 4)


def compare_runs(bench: Bench, data: Dataset, runs: int) -> Finding:
    """Compare runs of both on a data set with a test split."""
    begun = time.perf_counter()
    programs: dict[str, TimedRun] = {"dlkit": _ours(bench, data), "airbench94": _theirs(bench, data)}
    _ours(bench, data, epochs=1)(0)
    _theirs(bench, data, epochs=1)(0)
    warm_up = time.perf_counter() - begun
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for seed in range(runs):
        for name, run in programs.items():
            results[name].append(run(seed))
    seconds = {name: statistics.median(s for s, _ in each) for name, each in results.items()}
    accuracy = {name: statistics.fmean(a for _, a in each) for name, each in results.items()}
    ratio, worse = seconds["dlkit"] / seconds["airbench94"], accuracy["airbench94"] - accuracy["dlkit"]
    got = ", ".join(f"{name} {accuracy[name]:.4f} in {seconds[name]:.3g} s" for name in programs)
    return judged(
        f"{runs} {_SUBJECT}", _EXPECTED, got, ratio <= SLOWER and worse <= WORSE,
        ratio=ratio, seconds_of_run=seconds, accuracy=accuracy, runs=results, n=runs, warm_up_seconds=warm_up,
    )  # fmt: skip


def _ours(bench: Bench, data: Dataset, epochs: int | None = None) -> TimedRun:
    def run(seed: int) -> tuple[float, float]:
        length = [] if epochs is None else [f"train.epochs={epochs}", "data.grow_epochs=0"]
        recipe = recipes.load("cifar10-fast", [f"seed={seed}", "train.precision=bf16", *length])
        training = assemble_training(recipe, bench.device, dataset=ArrayData(data)).training
        synchronize(bench.device)
        started = time.perf_counter()
        (end,) = (event for event in fit(training) if isinstance(event, Finished))
        synchronize(bench.device)
        return time.perf_counter() - started - end.warm_up, end.metrics["test/accuracy"]

    return run


def _theirs(bench: Bench, data: Dataset, epochs: int = airbench.EPOCHS) -> TimedRun:
    splits: Any = {
        name: (normalised_images(split.inputs, data, bench), split.targets.to(bench.device))
        for name, split in data.splits.items()
    }

    def run(seed: int) -> tuple[float, float]:
        images, targets = splits["train"]
        torch.manual_seed(seed)
        synchronize(bench.device)
        started = time.perf_counter()
        model = airbench.train_airbench(images, targets, epochs)
        right = airbench.multicrop_accuracy(model, *splits["test"]).item()
        return time.perf_counter() - started, right

    return run
