"""What happens during training, as values. The loop yields them; whoever drives it draws, records or ignores them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StepDone:
    """An optimizer step was taken. `metrics` (means since the last logged step) is set on logged steps only."""

    step: int
    epoch: int
    samples: int
    lr: float
    metrics: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The model was evaluated on a split. `metrics` are named `split/metric`; `best` if none was better so far."""

    step: int
    epoch: int
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A checkpoint is safely on the disk."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Finished:
    """Training is over: `reason` is `done`, `patience` or `stopped` (by a signal; the run can be resumed).

    `skipped` steps of all were not made, since their loss or gradient was not finite. `warm_up` are the seconds of
    compiling and capturing, which are not among `seconds`. `compiled` are the graphs that were compiled, and the shapes
    of the batches that they were compiled for.
    """

    step: int
    epochs: float
    seconds: float
    metrics: dict[str, float]
    reason: str
    skipped: int = 0
    warm_up: float = 0.0
    compiled: tuple[int, int] | None = None


Event = StepDone | Evaluated | Checkpointed | Finished
