"""Error messages of a job: each is shown once, by the first process that has it."""

from __future__ import annotations

import hashlib

from dlkit.distributed.torchrun import launched_process
from dlkit.errors import DlkitError


def first_to_say(text: str) -> bool:
    """Whether no other process of the job has shown this message. True if the other processes cannot be reached.

    The processes count in their rendezvous store, which torchrun keeps open after some of them have ended.
    """
    process = launched_process()
    if process is None or process.world_size == 1:
        return True
    from dlkit.distributed.meeting_store import meeting_store

    try:
        store = meeting_store(process, "said", seconds=0)
    except DlkitError:  # the process that kept the store has ended
        return True
    return store.add(hashlib.sha256(text.encode()).hexdigest(), 1) == 1


def leave_error_file(error: BaseException) -> None:
    """Let torchrun's report name the error of this process. Call it while the error is being handled."""
    if launched_process() is not None:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
