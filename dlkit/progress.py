"""How far slow work on a whole data set has come, reported to whoever listens: a command draws a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

# of a title and of how many things there are, None where nobody knows: a function that hears of each few more
Listener = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def report_to(listener: Listener) -> Generator[None]:
    """Report every `stage` of the body to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def stage(title: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
    """A part of the work; the function that it gives is called with how many more things are done."""
    listener = _listener.get()
    return nullcontext(_unheard) if listener is None else listener(title, total)


def _unheard(count: int) -> None:
    pass
