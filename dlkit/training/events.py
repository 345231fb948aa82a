"""The events that the training loop yields, for its caller to show, record or ignore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dlkit.training.checkpoint_interval import CheckpointInterval


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
    """The model was evaluated on a split. `metrics` are named `split/metric`; `best` if it is the best so far."""

    step: int
    epoch: int
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A checkpoint was saved and synced to disk. `decided` is what the first one says of `checkpoint_every: auto`."""

    step: int
    path: Path
    decided: CheckpointInterval | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """Training is over: `reason` is `done`, `patience` or `stopped` (by a signal; the run can be resumed).

    `skipped` counts the steps left out because their loss or gradient was not finite. `warm_up` is the time of
    compiling and capturing in seconds, which `seconds` excludes. `compiled` is how many graphs were compiled, and for
    how many batch shapes. `interval` is what `checkpoint_every: auto` came to.
    """

    step: int
    epochs: float
    seconds: float
    metrics: dict[str, float]
    reason: str
    skipped: int = 0
    warm_up: float = 0.0
    compiled: tuple[int, int] | None = None
    interval: CheckpointInterval | None = None


Event = StepDone | Evaluated | Checkpointed | Finished
