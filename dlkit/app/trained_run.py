"""A training run as its listener sees it: how it begins, its events, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.app.events import Prepared, Remark
from dlkit.training.events import Event, Finished


@dataclass(frozen=True, slots=True)
class Started:
    """The run directory is there, and the first step comes next.

    `first_step` is 0, or where a run goes on. `unit` is what its speed counts, such as samples.
    """

    run: Path
    recipe: str
    device: str
    precision: str
    parameters: int
    total_steps: int
    steps_per_epoch: int
    first_step: int
    unit: str


TrainingEvent = Remark | Prepared | Started | Event


@dataclass(frozen=True)
class TrainedRun:
    """A run whose training has ended, or was stopped and can be resumed. It stands wherever the path of a run does.

    `record` is what summary.json holds, and what `dlkit train` prints.
    """

    path: Path
    record: dict[str, Any]
    total_steps: int

    @property
    def metrics(self) -> dict[str, float]:
        """Of the last evaluation, as `split/metric`."""
        return self.record["metrics"]

    @property
    def steps(self) -> int:
        return self.record["steps"]

    @property
    def stopped(self) -> bool:
        """Whether there is more to do: it was asked to stop before its last step."""
        return self.record["stopped_by"] == "stopped"

    def __fspath__(self) -> str:
        return str(self.path)


def until_finished(
    events: Iterator[Remark | Event], leave: Callable[[], None]
) -> Generator[Remark | Event, None, Finished]:
    """The events of training, and the last of them as the result.

    Args:
        events: to their end.
        leave: called when the listener closes the generator; that step is still finished, and its checkpoint saved.
    """
    finished: Finished | None = None
    try:
        for event in events:
            yield event
            if isinstance(event, Finished):
                finished = event
    except GeneratorExit:
        leave()
        for _ in events:
            pass
        raise
    assert finished is not None
    return finished
