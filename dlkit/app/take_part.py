"""What the other processes of a job do while its first one trains a run and writes it down. No torch."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.app.trained_run import Started, TrainedRun, TrainingEvent, until_finished

if TYPE_CHECKING:
    from dlkit.assemble import Assembled
    from dlkit.training.checkpoint import Checkpoint


def take_part(built: Assembled, leave: Callable[[], None]) -> Generator[TrainingEvent, None, TrainedRun]:
    """Train beside rank 0, in the run that it has opened, from the checkpoint that it goes on from.

    Args:
        built: the recipe as objects.
        leave: called when the listener closes the generator.
    """
    from dlkit.storage.run_reference import checkpoint_name
    from dlkit.training.checkpoint import load_checkpoint
    from dlkit.training.joint_checkpoints import JointCheckpoints
    from dlkit.training.loop import fit
    from dlkit.training.run_directory import CHECKPOINTS

    world = built.training.world
    path, step = world.broadcast_object((Path(), None))
    latest = None if step is None else load_checkpoint(path / CHECKPOINTS / checkpoint_name(step))
    yield started(built, path, latest)
    yield from until_finished(fit(built.training, JointCheckpoints(world), latest), leave)
    return world.broadcast_object(TrainedRun(path, {}, 0))


def started(built: Assembled, path: Path, latest: Checkpoint | None) -> Started:
    """The event before the first step of the run at `path`, or before the first behind the checkpoint `latest`."""
    training = built.training
    return Started(
        path, built.recipe.name, str(training.device), training.settings.precision, built.parameters,
        training.total_steps, training.steps_per_epoch, latest.step if latest else 0, training.task.unit,
    )  # fmt: skip
