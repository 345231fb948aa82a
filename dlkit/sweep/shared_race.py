"""A race in several processes: each runs its share of the trials, and the first collects what all have found.

Trial i of a race goes to rank i mod W, so that settings which diverge early are spread over the ranks. A trial is the
same computation on whichever rank it runs. The ranks need not run in step.
A process may take part in several races, one after the other, if all processes do so in the same order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from dlkit.distributed.mailbox import POLL_SECONDS, Mailbox
from dlkit.distributed.torchrun import launched_process
from dlkit.sweep.trials import TrialResult

T = TypeVar("T")
_CHECK_SECONDS = 0.2  # between two checks for what the other ranks have left
_begun = Counter[int]()  # races of each rank in this process
_PATIENCE_SECONDS = 20.0  # for ranks that have been asked to stop; torchrun kills them after 30


class SharedRace:
    """This process's part in a race, which is all of it without torchrun.

    Args:
        should_stop: whether this process was asked to stop; it then asks the others too.
        result: the type of the events that all ranks get, whichever of them they come from.
    """

    def __init__(self, should_stop: Callable[[], bool] = lambda: False, result: type = TrialResult) -> None:
        process = launched_process()
        self._mail: Mailbox | None = None
        self._result = result
        self.rank, self.size, self.local_size = 0, 1, 1
        if process is not None and process.world_size > 1:
            self.rank, self.size, self.local_size = process.rank, process.world_size, process.local_size
            self._mail = Mailbox(process, f"race {_begun[self.rank]}")  # whose messages no other race gets
            _begun[self.rank] += 1
        self._asked, self._stopped_at, self._checked = should_stop, 0.0, 0.0
        self._agreed = 0

    def should_stop(self) -> bool:
        """Whether any process of the job was asked to stop. The others know it a moment later."""
        if self._mail is None:
            return self._asked()
        if self._stopped_at:
            return True
        stops = self._asked()
        if stops:
            self._mail.put("stop", None)
        elif self._may_check():
            stops = self._mail.has("stop")
        self._stopped_at = time.monotonic() if stops else 0.0
        return stops

    def agree(self, value: T) -> T:
        """What rank 0 gives; every rank asks for the same agreements in the same order."""
        if self._mail is None:
            return value
        key = f"agreed/{self._agreed}"
        self._agreed += 1
        if self.rank == 0:
            self._mail.put(key, value)
            return value
        self._mail.wait(key)
        return self._mail.get(key)

    def share(self, trials: Sequence[T]) -> list[T]:
        """The trials that this rank runs."""
        return list(trials[self.rank :: self.size])

    def joined(self, events: Iterator[T]) -> Iterator[T]:
        """The events of this rank's trials, with the results of all ranks: on rank 0 as they come, else at the end."""
        if self._mail is None:
            yield from events
        elif self.rank == 0:
            yield from self._collected(self._mail, events)
        else:
            yield from self._sent(self._mail, events)

    def _sent(self, mail: Mailbox, events: Iterator[Any]) -> Iterator[Any]:
        count = 0
        for event in events:
            if isinstance(event, self._result):
                mail.put(f"result/{self.rank}/{count}", event)
                count += 1
            else:
                yield event
        mail.put(f"end/{self.rank}", count)
        if mail.wait("results", self._out_of_patience):
            yield from mail.get("results")

    def _collected(self, mail: Mailbox, events: Iterator[Any]) -> Iterator[Any]:
        results: list[Any] = []
        counts = [0] * self.size  # results that have come from each rank
        for event in events:
            if isinstance(event, self._result):
                results.append(event)
            yield event
            if self._may_check():
                results += (found := self._new_results(mail, counts))
                yield from found
        while True:
            over = all(mail.has(f"end/{rank}") for rank in range(1, self.size)) or self._out_of_patience()
            results += (found := self._new_results(mail, counts))
            yield from found
            if over:
                break
            time.sleep(POLL_SECONDS)
        mail.put("results", results)

    def _new_results(self, mail: Mailbox, counts: list[int]) -> list[Any]:
        found: list[Any] = []
        for rank in range(1, self.size):
            while mail.has(key := f"result/{rank}/{counts[rank]}"):
                found.append(mail.get(key))
                counts[rank] += 1
        return found

    def _may_check(self) -> bool:
        now = time.monotonic()
        due = now - self._checked > _CHECK_SECONDS
        self._checked = now if due else self._checked
        return due

    def _out_of_patience(self) -> bool:
        return self.should_stop() and time.monotonic() - self._stopped_at > _PATIENCE_SECONDS
