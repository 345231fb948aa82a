"""Where the processes of a job save together: the first one writes."""

from __future__ import annotations

from pathlib import Path

from dlkit.distributed.process_group import World
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.run_directory import RunDirectory


class JointCheckpoints:
    """The checkpoints of a run. Every rank saves at once, and goes on when the checkpoint is on the disk.

    Args:
        world: the processes.
        directory: of the run, which rank 0 has open.
    """

    def __init__(self, world: World, directory: RunDirectory | None = None) -> None:
        self.world, self.directory = world, directory

    def save(self, checkpoint: Checkpoint, best: bool) -> Path:
        path = self.directory.save(checkpoint, best) if self.directory is not None else Path()
        return self.world.broadcast_object(path)
