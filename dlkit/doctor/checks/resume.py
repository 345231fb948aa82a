"""An interrupted run that resumes from its checkpoint ends bit for bit like an uninterrupted one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from dlkit.assemble import assemble_training
from dlkit.doctor import samples
from dlkit.doctor.bench import Bench, bench_recipe
from dlkit.doctor.finding import Finding, judged
from dlkit.recipe import Recipe
from dlkit.storage.run_files import steps_in
from dlkit.storage.run_reference import checkpoint_name
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint, save_checkpoint
from dlkit.training.events import Checkpointed
from dlkit.training.loop import fit

_STEPS, _STOP = 8, 4
_USUAL = (f"train.checkpoint_every={_STOP} steps", "train.ema=0.9", "train.deterministic=true")
_SMALL = ("model.layers=2", "model.heads=2", "model.width=32", "model.dropout=0.1", "data.batch_size=4")

RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "mlp, AdamW, dropout": ("digits-mlp", "fp32", ("model.dropout=0.2",)),
    "resnet, momentum, bf16": (
        "digits-resnet20",
        "bf16",
        ("model.name=resnet", "model.depths=[1]", "model.widths=[8]", "data.batch_size=32"),
    ),
    "gpt, AdamW, fp16": ("pydoc-gpt", "fp16", (*_SMALL, "tokenizer.name=byte", "data.context=32")),
    "bert, Muon": (
        "pydoc-bert",
        "fp32",
        (*_SMALL, "data.name=text", "data.path={corpus}", "tokenizer.vocab_size=100", "data.context=32"),
    ),
}


def check_resume(bench: Bench) -> Iterator[Finding]:
    """One finding per run."""
    files = samples.write_samples(bench.folder)
    for number, (name, (recipe, precision, changes)) in enumerate(RUNS.items()):
        values = bench_recipe(
            recipe,
            [*_USUAL, *(change.format_map(files) for change in changes)],
            steps=_STEPS,
            precision=precision,
        )
        folder = bench.folder / f"resumed-{number}"
        whole = _finished(values, bench, folder / "whole")
        _finished(values, bench, folder / "parts", stop=True)
        parts = _finished(values, bench, folder / "parts")
        bad = differing_tensors(whole, parts)
        count = sum(len(held) for held in whole.tensors.values())
        got = f"{len(bad)} of {count} tensors differ, {bad[0]} first" if bad else f"{count} tensors alike"
        yield judged(name, f"the same bits behind step {_STEPS}", got, not bad, differing=bad)


def _finished(recipe: Recipe, bench: Bench, folder: Path, stop: bool = False) -> Checkpoint:
    """Resume a run from the checkpoint in the folder, if any; returns its last checkpoint, or with `stop` its first."""
    run = assemble_training(recipe, bench.device).training
    run.evaluations, run.monitored = {}, None
    there = steps_in(folder) if folder.exists() else []
    begun = checkpoint.load_checkpoint(_step(folder, there[-1])) if there else None
    events = fit(run, _Store(folder), begun)
    saved = (event.path for event in events if isinstance(event, Checkpointed))
    last = next(saved)
    if not stop:
        *_, last = (last, *saved)
    torch.manual_seed(1)  # so that a restored generator shows
    return checkpoint.load_checkpoint(last)


class _Store:
    """Stores the checkpoints of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, checkpoint: Checkpoint, best: bool) -> Path:
        return save_checkpoint(self.folder, checkpoint)


def _step(folder: Path, step: int) -> Path:
    return folder / checkpoint_name(step)


def differing_tensors(one: Checkpoint, other: Checkpoint) -> list[str]:
    """Names of the tensors that differ in any bit."""
    return [
        f"{file}/{name}"
        for file, held in one.tensors.items()
        for name, value in held.items()
        if name not in other.tensors[file] or not torch.equal(value, other.tensors[file][name])
    ]
