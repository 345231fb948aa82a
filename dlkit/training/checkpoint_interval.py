"""When to save next: `checkpoint_every`, also as `auto`, which loses the least time to checkpoints and to failures.

A failure costs what was done since the last checkpoint. With delta seconds to write one and M seconds between two
failures of the job, on average, the time that is lost is least with

    tau = sqrt(2 delta M) - delta

seconds of training between two checkpoints (Young 1974, doi:10.1145/361147.361115; the form is Daly's). The next terms
of the series, Daly 2006 (doi:10.1016/j.future.2004.11.016), equation 37, change the time that a job takes by less than
a thousandth unless delta is above M / 20. One device that fails ends the job, so M is the mean time between failures of
a device divided by the number of devices. Steps that wait for the slowest device change neither delta nor M: the
interval is one of seconds, and is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlkit.training.settings import steps_between

# Mean time between failures of a device: an assumption, not measured here. 419 unexpected interruptions in 54 days on
# 16,384 H100 (Llama 3, arXiv:2407.21783, section 3.3.4) are one in 54 * 24 * 16,384 / 419 = 50,700 hours of a device.
HOURS_BETWEEN_FAILURES = 50_000


@dataclass(frozen=True, slots=True)
class CheckpointInterval:
    """What `checkpoint_every: auto` has come to: `seconds` of training between two checkpoints.

    Args:
        write_seconds: what the first checkpoint took.
        devices: that train together.
    """

    write_seconds: float
    devices: int = 1

    @property
    def failure_seconds(self) -> float:
        """M, the assumed mean time between two failures of the job."""
        return HOURS_BETWEEN_FAILURES * 3600 / self.devices

    @property
    def seconds(self) -> float:
        """Never less than a checkpoint takes to write, so that at most half of the time goes into checkpoints."""
        # tau = sqrt(2 delta M) - delta
        delta = self.write_seconds
        return max(math.sqrt(2 * delta * self.failure_seconds) - delta, delta)

    def record(self) -> dict[str, Any]:
        """In seconds, but for the hours between two failures of the job."""
        return {
            "seconds": round(self.seconds, 3),
            "write_seconds": round(self.write_seconds, 6),
            "failure_hours": self.failure_seconds / 3600,
            "devices": self.devices,
        }


class CheckpointCadence:
    """Says after which steps a checkpoint is due, besides the best one and the end.

    `auto` saves after the first logged step, to see what that takes, and from then on after the first logged step at
    which the interval is over.

    Args:
        every: as in a recipe: `1 epoch`, `500 steps`, `never` or `auto`.
        steps_per_epoch: what an epoch is.
        devices: that train together.
        agree: gives the answer of the one device by whose clock all of them save.
    """

    def __init__(
        self, every: str, steps_per_epoch: int, devices: int = 1, agree: Callable[[bool], bool] = lambda due: due
    ) -> None:
        self.automatic = every == "auto"
        self.steps = None if self.automatic else steps_between(every, steps_per_epoch)
        self.devices, self.agree = devices, agree
        self.interval: CheckpointInterval | None = None  # of `auto`, once it is known
        self._saved = 0.0  # when, in seconds of training

    def due(self, step: int, logged: bool, seconds: float) -> bool:
        """Whether to save after a step.

        Args:
            step: how many have been taken.
            logged: whether this one's metrics are recorded.
            seconds: how long the run has trained.
        """
        if not self.automatic:
            return self.steps is not None and step % self.steps == 0
        if not logged:
            return False
        return self.agree(self.interval is None or seconds - self._saved >= self.interval.seconds)

    def saved(self, seconds: float, write_seconds: float) -> CheckpointInterval | None:
        """Note that a checkpoint was saved, `seconds` after the run began; returns the interval if it is new."""
        self._saved = seconds
        if not self.automatic or self.interval is not None:
            return None
        self.interval = CheckpointInterval(write_seconds, self.devices)
        return self.interval
