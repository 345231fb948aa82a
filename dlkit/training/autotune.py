"""Choose what a recipe leaves at `auto`: precision, memory layout, torch.compile, CUDA graphs.

Choices are made once, before the first step, by the hardware and then by measurement, and are written into the run's
recipe, so that a resumed or repeated run makes the same. A change must win clearly (`CLEAR_WIN`), so that noise does
not flip it.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from dlkit import memory
from dlkit.data.batch import Batch
from dlkit.errors import RequestError
from dlkit.kernels.cuda_graphs import WARM_UP
from dlkit.training import rng
from dlkit.training.forward_backward import ForwardBackward, Pass
from dlkit.training.interfaces import Task
from dlkit.training.precision import (
    autocast,
    faster_precisions,
    reduced_precision,
    set_matmul_precision,
    supported_precision,
)
from dlkit.training.settings import TrainSettings

CLEAR_WIN = 1.15
SMALL = 3e-3  # seconds
MEASURED_FROM = 100  # steps; in a shorter run the measurement, of about ten, does not pay off
GRAPH_FROM = 200  # steps; in a shorter run a CUDA graph, which takes a second to measure, does not pay off
# Compiling gains 1.1-1.4x and costs 25-60 s on a CPU, so it pays off from about ten minutes on.
COMPILE_FROM_SECONDS = {"cpu": 900.0, "cuda": 300.0}


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile can work here: it needs a C++ compiler for the CPU, triton for CUDA."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++"))
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return has_triton() and torch.cuda.get_device_capability(device) >= (7, 0)
    return False


def choose_layout(settings: TrainSettings, model: nn.Module, device: torch.device) -> TrainSettings:
    """The settings with the memory layout chosen: channels last is faster on a CPU, and on tensor cores at 16 bits.

    Raises:
        RequestError: channels last is requested for a model without convolutions.
    """
    convolves = any(parameter.dim() == 4 for parameter in model.parameters())
    if settings.channels_last == "on" and not convolves:
        raise RequestError("train.channels_last is on, and the model has no convolutions", "train.channels_last=auto")
    if settings.channels_last != "auto":
        return settings
    on = convolves and (device.type == "cpu" or (device.type == "cuda" and settings.precision != "fp32"))
    return dataclasses.replace(settings, channels_last="on" if on else "off")


def choose_parallel(settings: TrainSettings, model: nn.Module, device: torch.device) -> TrainSettings:
    """The settings of a run of several processes, with it chosen how they share the model.

    A divided model is not measured on, since no process has all of it: what is left at `auto` is then as exact as
    can be, but for products in bf16 on a GPU that has it.

    Args:
        settings: those of the recipe.
        model: on the CPU.
        device: of this process.

    Raises:
        RequestError: CUDA graphs are requested, which do not take in what the processes say to each other.
    """
    if settings.cuda_graph == "on":
        raise RequestError("train.cuda_graph is on, which is for a single process", "train.cuda_graph=auto")
    parallel = settings.parallel
    if parallel == "auto":
        # weights, gradients and two moments of each
        needed = 4 * sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        room = memory.free_memory(str(device)) if device.type == "cuda" else None
        parallel = "ddp" if room is None or needed < room else "fsdp"
    settings = dataclasses.replace(settings, parallel=parallel, cuda_graph="off")
    if parallel == "ddp":
        return settings
    exact = "bf16" if device.type == "cuda" and reduced_precision(device) == "bf16" else "fp32"
    return dataclasses.replace(
        settings,
        channels_last="off" if settings.channels_last == "auto" else settings.channels_last,
        compile="off" if settings.compile == "auto" else settings.compile,
        precision=exact if settings.precision == "auto" else settings.precision,
    )


def resolve_auto(
    settings: TrainSettings, model: nn.Module, task: Task, batch: Batch, device: torch.device, steps: int
) -> TrainSettings:
    """The settings with every `auto` replaced by a choice.

    Args:
        settings: those of the recipe, after `choose_layout`.
        model: on the device and in its layout; it is left as it is.
        task: defines the loss.
        batch: a typical batch, on the device.
        device: to train on.
        steps: length of the run.

    Raises:
        RequestError: compilation is requested and no compiler is installed.
    """
    if settings.compile == "on" and not can_compile(device):
        raise RequestError("train.compile is on, but no C++ compiler (or triton) was found", "set train.compile=off")
    seconds: dict[str, float] = {}
    if settings.precision == "auto":
        choice, others = "fp32", faster_precisions(device)
        if others and steps >= MEASURED_FROM:
            seconds = step_seconds(model, task, batch, device, ("fp32", *others))
            for other in others:
                if other in seconds and seconds[choice] > CLEAR_WIN * seconds[other]:
                    choice = other
        settings = dataclasses.replace(settings, precision=choice)
    settings = dataclasses.replace(settings, precision=supported_precision(settings.precision, device))
    if settings.cuda_graph == "auto":
        worth = False
        if device.type == "cuda" and steps >= GRAPH_FROM:
            precision = settings.precision
            if precision not in seconds:
                seconds = step_seconds(model, task, batch, device, (precision,))
            replayed = replay_seconds(model, task, batch, device, precision)
            if replayed is not None and seconds[precision] > CLEAR_WIN * replayed:
                worth, seconds[precision] = True, replayed  # compiling has less left to gain
        settings = dataclasses.replace(settings, cuda_graph="on" if worth else "off")
    if settings.compile == "auto":
        threshold = COMPILE_FROM_SECONDS.get(device.type, float("inf"))
        worth = False
        if can_compile(device) and steps * 0.5 > threshold / 10:  # a run of fewer steps is never long enough
            precision = settings.precision
            seconds = seconds or step_seconds(model, task, batch, device, (precision,))
            worth = steps * seconds[precision] > threshold
        settings = dataclasses.replace(settings, compile="on" if worth else "off")
    return settings


def step_seconds(
    model: nn.Module, task: Task, batch: Batch, device: torch.device, precisions: Sequence[str], enough: float = 1.5
) -> dict[str, float]:
    """Seconds of a forward and backward pass at each precision, on a copy of the model.

    The precisions take turns. After one warm-up pass the shortest of three to six counts: other load can only lengthen
    a pass, so a busy machine chooses like an idle one. Passes of a small model are all overhead, which no precision
    shortens: if the first precision takes less than `SMALL`, the others are left out, and so are those whose loss is
    not finite. Random generators are left as they were.
    """
    generators = rng.get_states(device)
    twin = copy.deepcopy(model).train()
    times: dict[str, list[float]] = {precision: [] for precision in precisions}
    losses: dict[str, torch.Tensor] = {}
    rounds = 0
    while rounds < 4 or (rounds < 7 and sum(map(sum, times.values())) < enough):
        for precision, spent in times.items():
            set_matmul_precision(precision)
            started = _now(device)
            with autocast(precision, device):
                loss, _ = task.forward(twin, batch)
            loss.backward()
            spent.append(_seconds(started, _now(device)))
            losses[precision] = loss.detach()
            twin.zero_grad(set_to_none=True)
        rounds += 1
        first = precisions[0]
        if rounds == 4 and min(times[first][1:]) < SMALL:
            times = {first: times[first]}
    set_matmul_precision("fp32")
    rng.set_states(*generators, device)
    finite = {precision for precision in times if math.isfinite(losses[precision].item())}
    return {precision: min(spent[1:]) for precision, spent in times.items() if precision in finite | {precisions[0]}}


def _now(device: torch.device) -> Any:
    """The time now, on the device's own clock if it has one."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _seconds(first: Any, last: Any) -> float:
    """Seconds between two times; waits for the last."""
    if isinstance(first, float):
        return last - first
    last.synchronize()
    return first.elapsed_time(last) / 1e3


def replay_seconds(model: nn.Module, task: Task, batch: Batch, device: torch.device, precision: str) -> float | None:
    """Seconds of a pass replayed from a CUDA graph, on a copy of the model; None if the pass waits for the device.

    Random generators are left as they were.
    """
    generators = rng.get_states(device)
    twin = copy.deepcopy(model).train()
    set_matmul_precision(precision)

    def forward(batch: Batch) -> Pass:
        with autocast(precision, device):
            return task.forward(twin, batch)

    if _waits(lambda: forward(batch)[0].backward()):
        set_matmul_precision("fp32")
        rng.set_states(*generators, device)
        return None
    made = ForwardBackward(forward, forward, len(batch), list(twin.parameters()), captures=True)
    spent: list[float] = []
    for _ in range(WARM_UP + 6):
        twin.zero_grad(set_to_none=True)
        started = _now(device)
        made(batch, 1.0)
        spent.append(_seconds(started, _now(device)))
    set_matmul_precision("fp32")
    rng.set_states(*generators, device)
    return min(spent[WARM_UP + 1 :])


def _waits(body: Callable[[], None]) -> bool:
    """Whether a function synchronises with CUDA, and so cannot be captured."""
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the debug mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        body()
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    return False
