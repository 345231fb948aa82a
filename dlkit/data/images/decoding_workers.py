"""The processes that decode images: how they start, and what happens when one of them dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import Any

import torch
from torch.utils.data import DataLoader

from dlkit.errors import DlkitError


def loaded_batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches of a loader. Raises DlkitError if one of its workers dies."""
    ended_child: Any = getattr(signal, "SIGCHLD", None)  # Windows has none
    others = multiprocessing.active_children()
    handler = signal.getsignal(ended_child) if ended_child is not None else None
    batches = iter(loader)
    if ended_child is not None and threading.current_thread() is threading.main_thread():
        # torch's handler raises wherever the main thread happens to be; without it, the next batch raises
        signal.signal(ended_child, handler or signal.SIG_DFL)
    workers = [process for process in multiprocessing.active_children() if process not in others]
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            # a closed connection may be noticed before the death of the worker that closed it
            ended = wait([worker.sentinel for worker in workers], timeout=1)
            for worker in workers:
                worker.join(1 if worker.sentinel in ended else 0)
            dead = [worker for worker in workers if worker.exitcode]
            if not dead:
                raise
            code = dead[0].exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            raise DlkitError(
                f"a process that decodes images died: {how}",
                "if memory ran out, lower data.workers or data.batch_size; `resume` goes on from the last checkpoint",
            ) from error
        yield batch


def begin_worker(_: int) -> None:
    """Let a worker answer signals as the training process wants it to."""
    torch.set_num_threads(1)
    threading.excepthook = _ignore_closed_pipes
    # a stop signal may reach the whole process group: the training process saves first, then ends its workers
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS does not say who sent a signal; there it ends a worker at once
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_obey_sigterm_of_parent, daemon=True).start()


def _ignore_closed_pipes(arguments: threading.ExceptHookArgs) -> None:
    """Print no traceback if the training process ended while it fetched a batch."""
    if not issubclass(arguments.exc_type, (OSError, EOFError)):
        threading.__excepthook__(arguments)


def _obey_sigterm_of_parent() -> None:
    """Let a SIGTERM end this process only if the training process sent it."""
    parent = multiprocessing.parent_process()
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != (parent.pid if parent else os.getppid()):
        pass
    os._exit(128 + signal.SIGTERM)
