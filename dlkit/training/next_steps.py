"""The steps of a run and their batches, from where it has come to in its data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from dlkit.data.batch import Batch
from dlkit.errors import DlkitError
from dlkit.training.state import TrainProgress
from dlkit.training.training import Training


def remaining_steps(training: Training, progress: TrainProgress, first: int) -> Iterator[tuple[int, list[Batch]]]:
    """(step, its micro-batches) from step `first` on; keeps the position in the data in `progress`.

    Raises DlkitError if no batch of an epoch can be read.
    """
    step, total = first, training.total_steps
    while step < total:
        begun, before = progress.batch, step
        batches = training.batches.epoch(progress.epoch, begun)
        while group := list(itertools.islice(batches, training.settings.accumulate)):
            # a source that leaves batches out is further on than the batches it has yielded
            progress.batch = getattr(training.batches, "passed", progress.batch + len(group))
            yield step, group
            step += 1
            if step == total:
                return
        if step == before and begun == 0:
            raise DlkitError(f"no batch of epoch {progress.epoch + 1} could be read", "is the training data whole?")
        progress.epoch, progress.batch = progress.epoch + 1, 0
