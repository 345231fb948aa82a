"""A compiled run is compiled once, behind which no step compiles again; one replayed from CUDA graphs, not at all.

Both end as the plain run does.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator

import torch

from dlkit.assemble import assemble_training
from dlkit.doctor.bench import Bench, loaded
from dlkit.doctor.finding import Finding, judged, skipped
from dlkit.train import autotune
from dlkit.train.events import StepDone
from dlkit.train.loop import fit
from dlkit.train.training import Training

MOST = 2e-3  # between two losses, as a share
_STEPS, _WARM_UP = 8, 2
_TEXT = (
    "model.layers=2",
    "model.heads=2",
    "model.width=64",
    "model.dropout=0",
    "tokenizer.name=byte",
    "data.context=64",
)

RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mlp": ("digits-mlp", ("model.hidden=[16]",)),
    "resnet": ("digits-resnet20", ("model.name=resnet", "model.depths=[1]", "model.widths=[8]", "data.batch_size=64")),
    "gpt": ("pydoc-gpt", _TEXT),
}


def check(bench: Bench) -> Iterator[Finding]:
    """A finding for each model; the smallest alone on a CPU, whose compiler takes half a minute for the others."""
    expected = f"no graph behind step {_WARM_UP}, losses within {MOST:g}"
    for name, (recipe, changes) in RUNS.items():
        if not bench.on_gpu and name != "mlp":
            continue
        if not autotune.can_compile(bench.device):
            yield skipped(name, expected, "no C++ compiler or triton")
            continue
        plain = assemble_training(loaded(recipe, changes, steps=_STEPS), bench.device).training
        plain.evaluations, plain.monitored = {}, None
        compiled, replayed = copy.deepcopy(plain), copy.deepcopy(plain)
        compiled.settings = dataclasses.replace(plain.settings, compile="on")
        torch.compiler.reset()
        wanted, _, _ = followed(plain)
        if bench.on_gpu:
            replayed.settings = dataclasses.replace(plain.settings, cuda_graph="on")
            found, _, _ = followed(replayed)
            worst = max(abs(mine / theirs - 1) for mine, theirs in zip(found, wanted, strict=True))
            yield judged(f"{name}, graph", f"losses within {MOST:g}", f"{worst:.1e}", worst < MOST, difference=worst)
        found, graphs, seconds = followed(compiled)
        worst = max(abs(mine / theirs - 1) for mine, theirs in zip(found, wanted, strict=True))
        late = graphs[-1] - graphs[_WARM_UP - 1]
        yield judged(
            name,
            expected,
            f"{late} of {graphs[-1]}, {worst:.1e}; {seconds:.1f} s to compile",
            worst < MOST and late == 0 and graphs[-1] > 0,
            graphs=graphs,
            difference=worst,
            compile_seconds=seconds,
        )


def followed(training: Training) -> tuple[list[float], list[int], float]:
    """The loss of each step, the graphs that were compiled up to each, and the seconds of the first."""
    from torch._dynamo.utils import counters

    begun, losses, graphs, seconds = counters["stats"]["unique_graphs"], list[float](), list[int](), 0.0
    started = time.perf_counter()
    for event in fit(training):
        if isinstance(event, StepDone):
            seconds = seconds or time.perf_counter() - started
            assert event.metrics is not None
            losses.append(event.metrics["train/loss"])
            graphs.append(counters["stats"]["unique_graphs"] - begun)
    return losses, graphs, seconds
