"""How far slow work on a whole data set is, told to whoever listens: a command draws a bar of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

# of a title and of how many things there are, None where nobody knows: a function that hears of each few more
Listener = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Generator[None]:
    """Run the body with `listener` told of every `stage`."""
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
