"""How many graphs torch.compile makes during a run: one for each shape of batches, or somebody should know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class CompileCounter:
    """Counts in `graphs` what is compiled while events come in; the backward pass of a graph counts as part of it.

    Args:
        active: whether anything is compiled; else this does nothing.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self.graphs = 0

    def during(self, events: Iterator[T]) -> Iterator[T]:
        """The events as they come."""
        if not self.active:
            yield from events
            return
        from torch._dynamo.callback import callback_handler as compiler  # which takes its time to import

        compiler.register_start_callback(self._count)
        try:
            yield from events
        finally:
            compiler.remove_start_callback(self._count)

    def _count(self, about: Any) -> None:
        self.graphs += about.callback_trigger.name == "DYNAMO"
