"""Decide what a recipe leaves at `auto`: precision, memory layout, compilation. By the hardware, then by the clock.

A decision is made once, before the first step, and written into the run's recipe, so that a resumed or repeated run
takes the same. It asks for a clear win (`CLEAR_WIN`), so that noise does not flip it.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
import statistics
import time
from typing import Any, Literal

import torch
from torch import nn

from dlkit.errors import RequestError
from dlkit.train import random_state
from dlkit.train.loop import AUTOCAST, Task
from dlkit.train.settings import Settings

DECIDED = ("precision", "channels_last", "compile")
CLEAR_WIN = 1.15
# Compiling gains 1.1-1.4x and costs 25-60 s on a CPU, so it repays itself from about ten minutes on.
COMPILE_FROM_SECONDS = {"cpu": 900.0, "cuda": 300.0}

Precision = Literal["fp32", "bf16", "fp16"]


def reduced_precision(device: torch.device) -> Precision | None:
    """The 16-bit format that this device multiplies in hardware, or None."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        amx = torch.cpu._is_amx_tile_supported()
        return "bf16" if amx or torch.cpu._is_avx512_bf16_supported() else None
    return None


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile finds what it needs here: a C++ compiler for the CPU, triton for CUDA."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++"))
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return has_triton() and torch.cuda.get_device_capability(device) >= (7, 0)
    return False


def layout(settings: Settings, model: nn.Module, device: torch.device) -> Settings:
    """The settings with the layout decided: CPUs convolve faster with channels last, tensor cores at 16 bits."""
    if settings.channels_last != "auto":
        return settings
    convolves = any(parameter.dim() == 4 for parameter in model.parameters())
    on = convolves and (device.type == "cpu" or (device.type == "cuda" and settings.precision != "fp32"))
    return dataclasses.replace(settings, channels_last="on" if on else "off")


def settle(settings: Settings, model: nn.Module, task: Task, batch: Any, device: torch.device, steps: int) -> Settings:
    """The settings without `auto`.

    Args:
        settings: as the recipe has them, after `layout`.
        model: on the device and in its layout; it is left as it is.
        task: gives the loss.
        batch: a typical batch, on the device.
        device: to train on.
        steps: length of the run.

    Raises:
        RequestError: compilation is asked for where there is no compiler.
    """
    if settings.compile == "on" and not can_compile(device):
        raise RequestError("train.compile is on, but no C++ compiler (or triton) was found", "set train.compile=auto")
    fp32_seconds: float | None = None
    if settings.precision == "auto":
        reduced = reduced_precision(device)
        if reduced is None:
            settings = dataclasses.replace(settings, precision="fp32")
        else:
            fp32_seconds = seconds_a_step(model, task, batch, device, "fp32")
            reduced_seconds = seconds_a_step(model, task, batch, device, reduced)
            faster = fp32_seconds > CLEAR_WIN * reduced_seconds
            settings = dataclasses.replace(settings, precision=reduced if faster else "fp32")
            fp32_seconds = min(fp32_seconds, reduced_seconds)
    if settings.compile == "auto":
        threshold = COMPILE_FROM_SECONDS.get(device.type, float("inf"))
        worth = False
        if can_compile(device) and steps * 0.5 > threshold / 10:  # no run of so few steps gets there
            seconds = fp32_seconds or seconds_a_step(model, task, batch, device, settings.precision)
            worth = steps * seconds > threshold
        settings = dataclasses.replace(settings, compile="on" if worth else "off")
    return settings


def seconds_a_step(
    model: nn.Module, task: Task, batch: Any, device: torch.device, precision: str, enough: float = 0.7
) -> float:
    """Median wall time of a forward and backward pass on a copy of the model; random generators stay as they were.

    Three to six passes are timed behind one that warms up, as many as fit into `enough` seconds.
    """
    generators = random_state.capture()
    twin = copy.deepcopy(model).train()
    times: list[float] = []
    while len(times) < 4 or (len(times) < 7 and sum(times) < enough):
        _synchronize(device)
        start = time.perf_counter()
        with torch.autocast(device.type, dtype=AUTOCAST.get(precision), enabled=precision in AUTOCAST):
            loss, _ = task.forward(twin, batch)
        loss.backward()
        _synchronize(device)
        times.append(time.perf_counter() - start)
        twin.zero_grad(set_to_none=True)
    random_state.restore(*generators)
    return statistics.median(times[1:])


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
