"""The environment variables that torchrun sets for each process. Free of torch.

A process belongs to a job only if TORCHELASTIC_RUN_ID is set, which nothing but torchrun sets: clusters set RANK and
WORLD_SIZE for their own jobs too, where two commands that run at the same time are still two jobs.
"""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass

from dlkit.errors import DlkitError, RequestError

_NUMBERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_VARIABLES = (*_NUMBERS, "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


@dataclass(frozen=True, slots=True)
class LaunchedProcess:
    """The process `rank` of `world_size`, and `local_rank` of the `local_size` on its machine."""

    rank: int
    local_rank: int
    world_size: int
    local_size: int


def launched_process() -> LaunchedProcess | None:
    """This process among torchrun's; None if torchrun did not start it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or _flaw() is not None:
        return None
    return LaunchedProcess(*(int(os.environ[name]) for name in _NUMBERS))


def is_first_process() -> bool:
    """Whether this process has rank 0, which alone prints, locks and writes. True without torchrun."""
    process = launched_process()
    return process is None or process.rank == 0


def require_whole_environment() -> None:
    """Raise RequestError if torchrun started this process, and its variables are incomplete or were changed."""
    if "TORCHELASTIC_RUN_ID" in os.environ and (flaw := _flaw()) is not None:
        raise RequestError(
            f"torchrun started this process, but {flaw}",
            "start it anew: torchrun --nproc-per-node N -m dlkit ..., or unset TORCHELASTIC_RUN_ID to work alone",
        )


def _flaw() -> str | None:
    """What is wrong with torchrun's variables, or None."""
    for name in _VARIABLES:
        if not os.environ.get(name):
            return f"{name} is not set"
    for name in (*_NUMBERS, "MASTER_PORT"):
        if not re.fullmatch("[0-9]{1,9}", os.environ[name]):
            return f"{name} is {os.environ[name]!r}, no number"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return f"RANK is {rank}, and WORLD_SIZE is {size}: there is no such process" if rank >= size else None


def require_meeting_place(seconds: float) -> None:
    """Wait until MASTER_ADDR and MASTER_PORT, the address of the rendezvous, can be reached.

    Raises DlkitError if nothing answers there after so many seconds.
    """
    place, end = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(place, timeout=max(end - time.monotonic(), 0.1)).close()
        except OSError as error:
            if time.monotonic() >= end or isinstance(error, socket.gaierror):
                raise DlkitError(
                    f"cannot reach {place[0]}:{place[1]}, where the processes of this job meet: "
                    f"{error.strerror or error}",
                    "is that machine up, and does its firewall let the port through? MASTER_ADDR and MASTER_PORT name "
                    "it, which torchrun sets from its rendezvous endpoint",
                ) from error
            time.sleep(0.1)
        else:
            return
