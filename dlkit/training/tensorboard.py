"""TensorBoard event files, for those who have it installed (`pip install dlkit[tensorboard]`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from dlkit.errors import RequestError
from dlkit.training.events import Evaluated, Event, Finished, StepDone


def event_writer(folder: Path, step: int) -> Callable[[Event], None]:
    """A function that writes each logged event after `step` into `folder`, in place of those that are there.

    Raises:
        RequestError: tensorboard is missing.
    """
    if find_spec("tensorboard") is None:
        raise RequestError("train.tensorboard is true, but tensorboard is not installed", "pip install tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(event: Event) -> None:
        if isinstance(event, StepDone) and event.metrics is not None:
            writer.add_scalar("train/lr", event.lr, event.step)
        if isinstance(event, (StepDone, Evaluated)):
            for name, value in (event.metrics or {}).items():
                writer.add_scalar(name, value, event.step)
        elif isinstance(event, Finished):
            writer.close()

    return write
