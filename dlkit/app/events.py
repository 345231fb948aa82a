"""What a workflow reports while it runs, and the object that gives both its events and its result. No torch."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dlkit.errors import DlkitError

_HALF = 0.5  # a variable, since Python would compute a product of constants in advance
E = TypeVar("E")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence for the user. A `routine` one says how the work goes; any other is about something unusual."""

    text: str
    routine: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Recipe, data and model fit each other. From here on the work can be stopped and taken up again."""


class Work(Generic[E, R]):
    """A workflow that runs while its events are read.

    A `for` loop over it runs it; `result` runs what is left and returns what came out. To leave early is fine: after a
    `break`, `close` (or the end of a `with` block) stops the work where it can be taken up again.

    Args:
        steps: a generator of the events that returns the result.
    """

    def __init__(self, steps: Generator[E, None, R]) -> None:
        self._steps = steps
        self._results: list[R] = []
        self._flushed = _flushes_denormals()

    def __iter__(self) -> Iterator[E]:
        return self

    def __next__(self) -> E:
        try:
            return next(self._steps)
        except StopIteration as end:
            if end.value is not None:
                self._results = [end.value]
            raise
        finally:
            if getattr(self._steps, "gi_frame", None) is None:
                self._restore()

    def result(self) -> R:
        """Run to the end, and return the result.

        Raises:
            DlkitError: the work was closed or failed before; else whatever the work raises.
        """
        for _ in self:
            pass
        if not self._results:
            raise DlkitError("this work ended early and has no result", "start it again")
        return self._results[0]

    def close(self) -> None:
        """Stop now, where the work can be taken up again. Without effect at its end."""
        self._steps.close()
        self._restore()

    def _restore(self) -> None:
        """Let this thread compute with denormal numbers again, which training may flush to zero for speed."""
        if _flushes_denormals() and not self._flushed:
            sys.modules["torch"].set_flush_denormal(False)

    def __enter__(self) -> Work[E, R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _flushes_denormals() -> bool:
    """Whether numbers below the least normal one are zero to this thread's processor."""
    return sys.float_info.min * _HALF == 0


def data_remarks(sources: dict[str, Any]) -> Iterator[Remark]:
    """What was taken of the data, and what is unusual about it.

    Args:
        sources: of a data set, which says where it is from.
    """
    if "taken" in sources:
        yield Remark(sources["taken"], routine=True)
    yield from map(Remark, sources.get("remarks", ()))


def damaged_remarks(damaged: dict[str, str], all_of_them: str, most: int = 5) -> Iterator[Remark]:
    """Images that were left out.

    Args:
        damaged: name of each image -> what is wrong with it.
        all_of_them: added after the first ones if there are more, such as the file that lists all.
        most: how many are named.
    """
    for name, why in list(damaged.items())[:most]:
        yield Remark(f"left out, damaged: {name}: {why}")
    if len(damaged) > most:
        yield Remark(f"left out, damaged: {all_of_them}")
