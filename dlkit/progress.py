"""Progress of slow work on a whole data set, reported to a listener: commands draw a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

# (title, number of items or None) -> context manager of a function that is called with each number of further items
Listener = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def report_to(listener: Listener) -> Generator[None]:
    """Report every `stage` in the block to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def stage(title: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
    """A stage of the work; call the function that it yields with the number of further items done."""
    listener = _listener.get()
    return nullcontext(_ignore) if listener is None else listener(title, total)


def _ignore(count: int) -> None:
    pass
