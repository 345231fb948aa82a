"""Counts the graphs that torch.compile makes during a run: more than one for each batch shape is worth reporting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class CompileCounter:
    """Counts in `graphs` the graphs compiled while a run yields its events; a backward graph counts with its forward.

    Args:
        active: whether the run compiles at all; if not, this does nothing.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self.graphs = 0

    def during(self, events: Iterator[T]) -> Iterator[T]:
        """The events as they come."""
        if not self.active:
            yield from events
            return
        from torch._dynamo.callback import callback_handler as compiler  # slow to import

        compiler.register_start_callback(self._count)
        try:
            yield from events
        finally:
            compiler.remove_start_callback(self._count)

    def _count(self, about: Any) -> None:
        self.graphs += about.callback_trigger.name == "DYNAMO"
