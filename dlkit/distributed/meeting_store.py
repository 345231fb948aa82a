"""The rendezvous store of a job: keys and values that torchrun keeps on one of the machines."""

from __future__ import annotations

import functools
import os

from torch.distributed import PrefixStore, TCPStore

from dlkit.distributed.torchrun import LaunchedProcess, require_meeting_place

MEETING_SECONDS = 120.0  # until the store can be reached; torch would wait for half an hour


def meeting_store(process: LaunchedProcess, name: str, seconds: float | None = None) -> PrefixStore:
    """The part of the store with the prefix `name`, and a new one after each restart by torchrun.

    torchrun may keep its store over a restart. torch's own rendezvous then finds the addresses of processes that have
    ended, and waits for them; here each attempt has its own keys.

    Args:
        process: this process.
        name: the purpose of the store.
        seconds: timeout for reaching it; None for `MEETING_SECONDS`.

    Raises DlkitError if it cannot be reached.
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
    """The store that this process hosts for the others until it ends."""
    return TCPStore(host, port, is_master=True, wait_for_workers=False)
