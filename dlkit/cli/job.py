"""A command in the processes that torchrun starts: who takes part, and how the error of one of them is shown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from dlkit.cli import console
from dlkit.distributed.torchrun import launched_process, require_whole_environment
from dlkit.errors import DlkitError

# Commands that share their work among processes. Of any other the first process does all, and the rest ends at once.
SHARED = ("train", "eval", "predict", "compare-optimizers", "review run")
_LOST = re.compile(r"gloo/|NCCL|Connection (closed|reset) by peer|recvValue failed|failed to recv")


def stands_aside(arguments: Sequence[str]) -> bool:
    """Whether this process has nothing to do: torchrun started several, for a command that needs only one.

    Raises RequestError if the variables that torchrun sets are incomplete or malformed.
    """
    require_whole_environment()
    process = launched_process()
    words = [argument for argument in arguments if not argument.startswith("-")][:2]
    command = next((known for known in SHARED if known.split() == words[: len(known.split())]), None)
    shared = command is not None
    command = command or next(iter(words), None)
    if process is None:
        others = os.environ.get("WORLD_SIZE", "1")
        if shared and others.isdecimal() and int(others) > 1:
            console.note(f"WORLD_SIZE is {others}, but torchrun did not start this process: it works alone")
        return False
    if process.world_size == 1 or shared:
        return False
    if process.rank == 0 and command is not None:
        console.note(f"{command} needs one process: the others of this job have ended")
    return process.rank > 0


def lost_process(error: BaseException) -> DlkitError | None:
    """What to say where this process waited for another one that has ended; None for any other error."""
    if "torch.distributed" not in sys.modules or not isinstance(error, RuntimeError):
        return None
    from torch.distributed import DistError

    if launched_process() is None or not (isinstance(error, DistError) or _LOST.search(str(error))):
        return None
    return LostProcessError(
        "another process of this job has ended, or cannot be reached",
        "its own error, if it gave one, is above or in torchrun's report; --resume auto goes on with the run",
    )


class LostProcessError(DlkitError):
    """Another process of the job is gone. Exit code 1."""


def report_once(error: DlkitError) -> None:
    """Show an error unless another process of the job has shown it, and leave it in the file that torchrun reports."""
    from dlkit.distributed.announcement import first_to_say, leave_error_file

    if not isinstance(error, LostProcessError):  # it is not the cause
        leave_error_file(error)
    if first_to_say(f"{error.message}\n{error.hint}"):
        console.report(error)
