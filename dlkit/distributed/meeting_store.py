"""The store at which the processes of a job meet: keys and values that torchrun keeps on one of the machines."""

from __future__ import annotations

import functools
import os

from torch.distributed import PrefixStore, TCPStore

from dlkit.distributed.torchrun import LaunchedProcess, require_meeting_place

MEETING_SECONDS = 120.0  # for the process where the others meet to get ready; torch would wait for half an hour


def meeting_store(process: LaunchedProcess, name: str, seconds: float | None = None) -> PrefixStore:
    """The part of the store that is about `name`, anew each time that torchrun starts the processes again.

    torchrun may keep its store over a restart. torch's own rendezvous then finds the addresses of the processes that
    have ended, and waits for them; here each attempt has keys of its own.

    Args:
        process: this one.
        name: of what the store is for.
        seconds: to wait until it can be reached; None for `MEETING_SECONDS`.

    Raises DlkitError if it cannot.
    """
    kept_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if process.rank == 0 and not kept_by_torchrun:
        store = _opened_store(*place)
    else:
        require_meeting_place(MEETING_SECONDS if seconds is None else seconds)
        store = TCPStore(*place, is_master=False)
    return PrefixStore(f"dlkit/{name}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


@functools.cache
def _opened_store(host: str, port: int) -> TCPStore:
    """The store that this process keeps for the others, as long as it lives."""
    return TCPStore(host, port, is_master=True, wait_for_workers=False)
