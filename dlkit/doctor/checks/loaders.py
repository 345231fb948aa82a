"""Every loader: its batches on the device equal those of a second loader on the CPU.

On a CPU, too, this reveals orders, masks and augmentations that depend on more than seed and epoch. An epoch entered in
the middle must go on like the whole one, and each example must come once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlkit.assemble import load_data
from dlkit.data.batch import Batch, MaskedBatch
from dlkit.data.text.windows import IGNORED
from dlkit.doctor import samples
from dlkit.doctor.bench import CPU, Bench, bench_recipe
from dlkit.doctor.finding import Finding, judged
from dlkit.training.interfaces import BatchSource

MOST = 1e-4  # difference of two pixels or features, whose standard deviation is about 1
_EPOCHS, _BATCHES = (0, 1), 6  # epochs, and the number of their first batches, that are compared
_MASKED = ("data.name=text", "data.path={corpus}", "tokenizer.vocab_size=100", "data.context=64")


@dataclass(frozen=True)
class LoaderCheck:
    """The data of a recipe, and whether examples are mixed in pairs, which then have no target of their own."""

    recipe: str
    changes: tuple[str, ...]
    mixes: bool = False


LOADERS = {
    "images": LoaderCheck("digits-mlp", ("data.batch_size=400",)),
    "images, moved": LoaderCheck(
        "digits-resnet20", ("data.batch_size=400", "data.flip=alternating", "data.shift=2", "data.cutout=3")
    ),
    "images, mirrored border": LoaderCheck(
        "digits-resnet20", ("data.batch_size=400", "data.shift=2", "data.border=mirror")
    ),
    "images, mixed": LoaderCheck(
        "digits-resnet20", ("data.batch_size=400", "data.mixup=0.2", "data.cutmix=1.0"), mixes=True
    ),
    "images, growing": LoaderCheck(
        "digits-resnet20", ("data.batch_size=400", "data.start_size=4", "data.grow_epochs=1")
    ),
    "rows": LoaderCheck("csv-mlp", ("data.path={rows}", "data.batch_size=16")),
    "folders of images": LoaderCheck(
        "images-resnet20", ("data.path={photographs}", "data.size=16", "data.batch_size=8", "data.validation=0")
    ),
    "streamed images": LoaderCheck(
        "imagenet-resnet50", ("data.path={photographs}", "data.size=32", "data.workers=0", "data.batch_size=8")
    ),
    "windows": LoaderCheck("pydoc-gpt", ("tokenizer.name=byte", "data.context=64")),
    "masked windows": LoaderCheck("pydoc-bert", (*_MASKED, "data.whole_words=false")),
    "masked words": LoaderCheck("pydoc-bert", (*_MASKED, "data.whole_words=true")),
    "repeats": LoaderCheck("repeats-gpt", ()),
    "texts": LoaderCheck("texts-bert", ("data.path={texts}", "data.batch_size=8")),
}


def check_loaders(bench: Bench) -> Iterator[Finding]:
    """One finding per loader."""
    files = samples.write_samples(bench.folder)
    for name, loader in LOADERS.items():
        recipe = bench_recipe(loader.recipe, [change.format_map(files) for change in loader.changes], steps=1)
        data = load_data(recipe)
        faults, worst = list[str](), 0.0
        for split in ("train", data.evaluated_splits[0]):
            training = split == "train"
            there, here = (data.batches(recipe, split, place, training) for place in (bench.device, CPU))
            for epoch in _EPOCHS if training else (0,):
                found, worst_here = epoch_differences(there, here, epoch)
                faults += [f"{split}, epoch {epoch + 1}: {fault}" for fault in found]
                worst = max(worst, worst_here)
                targets = None if loader.mixes else data.targets(split)
                if targets is not None and not same_examples(there, epoch, targets):
                    faults.append(f"{split}, epoch {epoch + 1}: not each example once")
        got = f"{faults[0]}{f' and {len(faults) - 1} more' if faults[1:] else ''}" if faults else f"within {worst:.1e}"
        yield judged(name, f"the CPU's, within {MOST:g}", got, not faults, difference=worst, faults=faults)


def epoch_differences(there: BatchSource, here: BatchSource, epoch: int) -> tuple[list[str], float]:
    """Faults of the first batches of an epoch, and the largest difference of their values."""
    faults, worst = list[str](), 0.0
    if len(there) != len(here):
        return [f"{len(there)} batches, not {len(here)}"], worst
    count = min(len(here), _BATCHES)
    pairs = zip(there.epoch(epoch), here.epoch(epoch), range(count), strict=False)
    for one, other, index in pairs:
        fault, difference = batch_difference(one, other)
        worst = max(worst, difference)
        if fault or difference > MOST:
            faults.append(f"batch {index + 1} {fault or f'differs by {difference:.1e}'}")
    middle = count // 2
    late, whole = next(iter(there.epoch(epoch, middle))), None
    for whole, _ in zip(here.epoch(epoch), range(middle + 1), strict=False):  # noqa: B007
        pass
    fault, difference = batch_difference(late, whole)
    if fault or difference > MOST:
        faults.append(f"entered at batch {middle + 1}, it {fault or f'differs by {difference:.1e}'}")
    return faults, worst


def batch_difference(one: Any, other: Any) -> tuple[str, float]:
    """A fault of a batch as a whole, or an empty string, and the largest difference of its values."""
    worst = 0.0
    one = without_padding(one)
    if other is None or fields(one) != fields(other):
        return "has other fields", worst
    for mine, theirs in zip(one.tensors(), other.tensors(), strict=True):
        if mine.shape != theirs.shape or mine.dtype is not theirs.dtype:
            return f"is {tuple(mine.shape)} {mine.dtype}, not {tuple(theirs.shape)} {theirs.dtype}", worst
        if not mine.numel():
            continue
        if mine.dtype.is_floating_point:
            worst = max(worst, float((mine.to(CPU).double() - theirs.double()).abs().max()))
        elif not torch.equal(mine.to(CPU), theirs):
            return "has other targets or tokens", worst
    return "", worst


def fields(batch: Batch) -> list[str]:
    """The names of a batch's tensors."""
    return [name for name, value in vars(batch).items() if isinstance(value, Tensor)]


def without_padding(batch: Batch) -> Batch:
    """The batch without padding, which the loss is to leave out. Raises ValueError if it would not."""
    if not isinstance(batch, MaskedBatch) or batch.target_count is None:
        return batch
    count = batch.target_count
    if not bool((batch.targets[count:] == IGNORED).all()):
        raise ValueError("padding of a batch would be learned")
    return MaskedBatch(batch.token_ids, batch.targets[:count], batch.positions[:count])


def same_examples(batches: BatchSource, epoch: int, targets: Tensor) -> bool:
    """Whether the targets of an epoch are those of the data, in any order."""
    found = torch.cat([batch.targets.to(CPU) for batch in batches.epoch(epoch)])
    return torch.equal(found.sort().values, targets.sort().values)
