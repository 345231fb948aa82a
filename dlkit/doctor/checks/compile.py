"""A compiled run compiles once and no later step recompiles; a run replayed from CUDA graphs matches, too.

Both have the losses of the plain run.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator

import torch

from dlkit.assemble import assemble_training
from dlkit.doctor.bench import Bench, bench_recipe
from dlkit.doctor.finding import Finding, judged, skipped
from dlkit.training import autotune
from dlkit.training.events import StepDone
from dlkit.training.loop import fit
from dlkit.training.training import Training

MOST = 2e-3  # relative difference of two losses
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


def check_compile(bench: Bench) -> Iterator[Finding]:
    """One finding per model; on a CPU only the smallest, since compiling the others takes half a minute each."""
    expected = f"no graph behind step {_WARM_UP}, losses within {MOST:g}"
    for name, (recipe, changes) in RUNS.items():
        if not bench.on_gpu and name != "mlp":
            continue
        if not autotune.can_compile(bench.device):
            yield skipped(name, expected, "no C++ compiler or triton")
            continue
        plain = assemble_training(bench_recipe(recipe, changes, steps=_STEPS), bench.device).training
        plain.evaluations, plain.monitored = {}, None
        compiled, replayed = copy.deepcopy(plain), copy.deepcopy(plain)
        compiled.settings = dataclasses.replace(plain.settings, compile="on")
        torch.compiler.reset()
        wanted, _, _ = trace_run(plain)
        if bench.on_gpu:
            replayed.settings = dataclasses.replace(plain.settings, cuda_graph="on")
            found, _, _ = trace_run(replayed)
            worst = max(abs(mine / theirs - 1) for mine, theirs in zip(found, wanted, strict=True))
            yield judged(f"{name}, graph", f"losses within {MOST:g}", f"{worst:.1e}", worst < MOST, difference=worst)
        found, graphs, seconds = trace_run(compiled)
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


def trace_run(training: Training) -> tuple[list[float], list[int], float]:
    """The loss of each step, the number of graphs compiled up to it, and the seconds of the first step."""
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
