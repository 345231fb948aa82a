"""Where the processes of a job save together: each writes what it has of a divided model, and the first the rest."""

from __future__ import annotations

from pathlib import Path

from dlkit.distributed.part_files import save_parts
from dlkit.distributed.process_group import World
from dlkit.distributed.tensor_parts import is_divided
from dlkit.storage.run_files import remove_path
from dlkit.storage.run_reference import checkpoint_name
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
        divided = {
            f"{file}/{name}": held.pop(name)
            for file, held in checkpoint.tensors.items()
            for name in sorted(held)
            if is_divided(held[name])
        }
        if divided:
            checkpoint.parts = self.world.broadcast_object(self._new_folder(checkpoint.step))
            save_parts(checkpoint.parts, divided)
            self.world.barrier()
        path = self.directory.save(checkpoint, best) if self.directory is not None else Path()
        return self.world.broadcast_object(path)

    def _new_folder(self, step: int) -> Path:
        """For the parts of a checkpoint, until it is whole; what a killed run left of one is removed."""
        if self.directory is None:
            return Path()
        folder = self.directory.checkpoints / f".{checkpoint_name(step)}.parts.tmp"
        remove_path(folder)
        folder.mkdir(parents=True)
        return folder.absolute()
