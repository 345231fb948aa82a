"""What an engine yields while a sweep runs. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlkit.sweep.trials import TrialResult


@dataclass(frozen=True)
class TrialsAdvanced:
    """Unfinished trials have advanced. The engine keeps updating the results in place.

    Args:
        step: the step that all of them have reached.
        outcomes: their results so far; `metrics` are those of the latest evaluation.
    """

    step: int
    outcomes: Sequence[TrialResult]


@dataclass(frozen=True)
class StackHalved:
    """A stack of `runs` did not fit into memory: its runs restart in stacks of at most `size`."""

    runs: int
    size: int


@dataclass(frozen=True)
class StackNotRecorded:
    """A stack's steps could not be recorded as a CUDA graph, and why: kernels are launched one by one."""

    why: str


# What an engine yields: a finished trial, progress of the others, or a change in how it runs.
SweepEvent = TrialResult | TrialsAdvanced | StackHalved | StackNotRecorded
