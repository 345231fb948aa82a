"""No training step synchronizes with the device.

On a GPU torch reports where a step does; on a CPU the operators that would are counted. A logged step reads the loss
and so may wait; these steps are not logged.
"""

from __future__ import annotations

import collections
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlkit.assemble import assemble_training
from dlkit.doctor import samples
from dlkit.doctor.bench import Bench, bench_recipe
from dlkit.doctor.checks.replayed_batches import ReplayedBatches
from dlkit.doctor.finding import Finding, judged
from dlkit.doctor.kernel_launches import RecordedOperators
from dlkit.training.loop import fit
from dlkit.training.training import Training

_WARM_UP, _STEPS = 2, 4
# Operators whose result, or its size, the host must know.
_WAIT = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten.equal",
    "aten.is_nonzero",
    "aten.unique",
)
_TEXT = ("data.name=text", "data.path={corpus}", "tokenizer.vocab_size=100", "data.batch_size=2", "data.context=64")
_SMALL = ("model.layers=2", "model.heads=2", "model.width=32")

TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "image-classification": ("digits-mlp", ()),
    "image-classification bf16": (
        "digits-resnet20",
        ("train.precision=bf16", "model.name=resnet", "model.depths=[1]", "model.widths=[8]"),
    ),
    "... clipped and averaged": ("digits-mlp", ("train.clip_norm=1", "train.ema=0.9")),
    "... with an L2 penalty": ("digits-mlp", ("loss.l2=1e-4",)),
    "... mixed": ("digits-mlp", ("data.mixup=0.2",)),
    "tabular-classification": ("csv-mlp", ("data.path={rows}", "data.batch_size=8", "train.patience=null")),
    "tabular-regression": (
        "csv-regression",
        ("data.path={rows}", "data.label=d", "data.batch_size=8", "train.patience=null"),
    ),
    "causal-lm": ("pydoc-gpt", (*_SMALL, "tokenizer.name=byte", "data.batch_size=2")),
    "masked-lm": ("pydoc-bert", (*_SMALL, *_TEXT)),
    "masked-lm, whole words": ("pydoc-bert", (*_SMALL, *_TEXT, "data.whole_words=true")),
    "text-classification": ("texts-bert", (*_SMALL, "data.path={texts}", "data.batch_size=8")),
    "... with batch norm": (
        "texts-bert",
        (*_SMALL, "data.path={texts}", "data.batch_size=8", "model.norm=batch"),
    ),
}


def check_waits(bench: Bench) -> Iterator[Finding]:
    """One finding per task."""
    files = samples.write_samples(bench.folder)
    for name, (recipe, changes) in TASKS.items():
        plain = [change.format_map(files) for change in changes]
        precise = [change for change in plain if change.startswith("train.precision")] or ["train.precision=fp32"]
        steps = _WARM_UP + _STEPS + 10
        run = assemble_training(
            bench_recipe(recipe, ["train.log_every=1000", *plain, *precise], steps=steps), bench.device
        ).training
        found = find_waits(run)
        got = ", ".join(f"{where} {count}x" for where, count in found.items()) or "none"
        yield judged(name, f"no wait in {_STEPS} steps", got, not found, waits=found)


def find_waits(training: Training) -> dict[str, int]:
    """Where a few steps of a run synchronize, and how often. On a CPU the loader, a part of the host, is excluded."""
    on_gpu = training.device.type == "cuda"
    if not on_gpu:
        training.batches = ReplayedBatches(training.batches, _WARM_UP + _STEPS, training.total_steps)
    events = fit(training)
    for _ in itertools.islice(events, _WARM_UP):
        pass
    return _by_driver(events) if on_gpu else _by_operators(events)


def _by_driver(events: Iterator[Any]) -> dict[str, int]:
    """Synchronizations that torch warns of, by file and line."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # this call itself warns
        try:
            for _ in itertools.islice(events, _STEPS):
                pass
        finally:
            torch.cuda.set_sync_debug_mode("default")
    locations = (
        f"{'/'.join(warned.filename.split('/')[-2:])}:{warned.lineno}" for warned in caught if _synchronizes(warned)
    )
    return dict(collections.Counter(locations))


def _synchronizes(warned: warnings.WarningMessage) -> bool:
    return "called a synchronizing" in str(warned.message)


def _by_operators(events: Iterator[Any]) -> dict[str, int]:
    """Operators that would synchronize on a GPU, by name."""
    with RecordedOperators() as operators:
        for _ in itertools.islice(events, _STEPS):
            pass
    names = (name for name, arguments in operators.called if name.startswith(_WAIT) or _by_mask(name, arguments))
    return dict(collections.Counter(names))


def _by_mask(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether it indexes by a mask, so that the host must know the number of elements."""
    if not name.startswith("aten.index.Tensor"):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in arguments[1])
