"""What torchrun says to each process that it starts. No torch.

Only torchrun's own variables decide, of which TORCHELASTIC_RUN_ID is the one that nothing else sets: two commands that
are run beside each other are two jobs, on a cluster that sets RANK and WORLD_SIZE for jobs of its own, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


@dataclass(frozen=True, slots=True)
class LaunchedProcess:
    """Which process this is: number `rank` of `world_size`, and number `local_rank` on its machine."""

    rank: int
    local_rank: int
    world_size: int


def launched_process() -> LaunchedProcess | None:
    """Which of torchrun's processes this is; None if torchrun did not start it."""
    if any(name not in os.environ for name in _VARIABLES):
        return None
    return LaunchedProcess(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))


def is_first_process() -> bool:
    """Whether this process speaks for the job: it alone prints, locks and writes. True without torchrun."""
    process = launched_process()
    return process is None or process.rank == 0
