"""No step waits for the device: on a GPU torch itself says where one does; on a CPU the operators that would.

A logged step asks for the loss, and so may wait; the steps here are not logged.
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
from dlkit.doctor.bench import Bench, loaded
from dlkit.doctor.finding import Finding, judged
from dlkit.doctor.launches import Operators
from dlkit.doctor.replayed import Replayed
from dlkit.train.loop import fit
from dlkit.train.training import Training

_WARM_UP, _STEPS = 2, 4
# Operators whose answer, or whose size, the host must know.
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
    "causal-lm": ("pydoc-gpt", (*_SMALL, "tokenizer.name=byte", "data.batch_size=2")),
    "masked-lm": ("pydoc-bert", (*_SMALL, *_TEXT)),
    "masked-lm, whole words": ("pydoc-bert", (*_SMALL, *_TEXT, "data.whole_words=true")),
    "text-classification": ("texts-bert", (*_SMALL, "data.path={texts}", "data.batch_size=8")),
}


def check(bench: Bench) -> Iterator[Finding]:
    """A finding for each task."""
    files = samples.files(bench.folder)
    for name, (recipe, changes) in TASKS.items():
        plain = [change.format_map(files) for change in changes]
        precise = [change for change in plain if change.startswith("train.precision")] or ["train.precision=fp32"]
        steps = _WARM_UP + _STEPS + 10
        run = assemble_training(
            loaded(recipe, ["train.log_every=1000", *plain, *precise], steps=steps), bench.device
        ).training
        found = waits(run)
        got = ", ".join(f"{where} {count}x" for where, count in found.items()) or "none"
        yield judged(name, f"no wait in {_STEPS} steps", got, not found, waits=found)


def waits(training: Training) -> dict[str, int]:
    """Where a few steps of a run wait for the device, and how often. A CPU's loader, which is the host, is left out."""
    on_gpu = training.device.type == "cuda"
    if not on_gpu:
        training.batches = Replayed(training.batches, _WARM_UP + _STEPS, training.total_steps)
    events = fit(training)
    for _ in itertools.islice(events, _WARM_UP):
        pass
    return _by_driver(events) if on_gpu else _by_operators(events)


def _by_driver(events: Iterator[Any]) -> dict[str, int]:
    """What torch warns of, by file and line."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # which warns of itself, too
        try:
            for _ in itertools.islice(events, _STEPS):
                pass
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = (
        f"{'/'.join(warned.filename.split('/')[-2:])}:{warned.lineno}" for warned in caught if _synchronizes(warned)
    )
    return dict(collections.Counter(places))


def _synchronizes(warned: warnings.WarningMessage) -> bool:
    return "called a synchronizing" in str(warned.message)


def _by_operators(events: Iterator[Any]) -> dict[str, int]:
    """Operators that would wait on a GPU, by name."""
    with Operators() as operators:
        for _ in itertools.islice(events, _STEPS):
            pass
    names = (name for name, arguments in operators.called if name.startswith(_WAIT) or _by_mask(name, arguments))
    return dict(collections.Counter(names))


def _by_mask(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether it picks elements by a mask, whose number the host must know."""
    if not name.startswith("aten.index.Tensor"):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in arguments[1])
