"""Whose error a job shows: each message once, whichever of its processes comes to it first."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta

from dlkit.distributed.torchrun import launched_process, require_meeting_place
from dlkit.errors import DlkitError

_SECONDS = 3  # to reach the store of the job


def first_to_say(text: str) -> bool:
    """Whether no other process of the job has said this; where they cannot be asked, it is said in any case.

    The processes count in the store at which they meet, which torchrun keeps open after some of them have ended.
    """
    process = launched_process()
    if process is None or process.world_size == 1:
        return True
    try:
        require_meeting_place(0)  # without a word, unlike the store
    except DlkitError:  # the process that kept the store has ended
        return True
    from torch.distributed import TCPStore

    key = f"dlkit/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{hashlib.sha256(text.encode()).hexdigest()}"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=_SECONDS)).add(key, 1) == 1


def leave_error_file(error: BaseException) -> None:
    """Let torchrun's report name the error of this process; to be called while it is handled."""
    if launched_process() is not None:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
