"""Learning rate schedules: pure functions from a step to the factor that multiplies the base learning rate.

Steps count from 0. Over the first W steps the factor warms up linearly, (step + 1) / W, and reaches 1 at step W - 1.
The decay is a function of the share p of the rest that lies behind:

    p = (step - W) / (total - W),   0 <= p < 1

so the last step still learns, and a decay would reach the value that it ends on one step past the end. With W = 0 these
are the conventions of torch.optim.lr_scheduler's LinearLR and CosineAnnealingLR with `total` steps.
"""

from __future__ import annotations

import math
from typing import Annotated

from dlkit.annotations import Count, Fraction, Ge, Lt
from dlkit.errors import RequestError

Warmup = Annotated[float, Ge(0), Lt(1)] | Count


def _warmup_steps(warmup: float, total: int) -> int:
    """W: a whole number of at least 1 counts steps, anything less is a share of the run."""
    steps = int(warmup) if warmup >= 1 else round(warmup * total)
    if warmup < 0 or steps > total:
        raise RequestError(f"a warm-up of {warmup:g} does not fit into {total} steps", "lower schedule.warmup")
    return steps


def _behind(step: int, total: int, warmup_steps: int) -> float:
    return (step - warmup_steps) / max(total - warmup_steps, 1)


def constant(step: int, total: int, *, warmup: Warmup = 0.0) -> float:
    """The base learning rate throughout.

    Args:
        warmup: steps of linear warm-up, or their share of the run if below 1.
    """
    warming = _warmup_steps(warmup, total)
    return (step + 1) / warming if step < warming else 1.0


def steps(
    step: int,
    total: int,
    *,
    warmup: Warmup = 0.0,
    at: tuple[Fraction, ...] = (0.5, 0.75),
    factor: Fraction = 0.1,
) -> float:
    """The base learning rate, times `factor` from each of some points of the run on (He et al., arXiv:1512.03385).

    Args:
        warmup: steps of linear warm-up, or their share of the run if below 1.
        at: shares of the run, warm-up included, each of which a factor follows.
        factor: of each drop.
    """
    warming = _warmup_steps(warmup, total)
    if step < warming:
        return (step + 1) / warming
    # factor^k, where k of the points lie behind: step >= round(p total)
    return factor ** sum(step >= round(point * total) for point in at)


def linear(step: int, total: int, *, warmup: Warmup = 0.0, final: Fraction = 0.0) -> float:
    """Decay by the same amount at every step.

    Args:
        warmup: steps of linear warm-up, or their share of the run if below 1.
        final: factor that the decay ends on.
    """
    warming = _warmup_steps(warmup, total)
    if step < warming:
        return (step + 1) / warming
    # 1 - (1 - final) p
    return 1 - (1 - final) * _behind(step, total, warming)


def cosine(step: int, total: int, *, warmup: Warmup = 0.0, final: Fraction = 0.0) -> float:
    """Cosine annealing: half a period, from 0 to pi (Loshchilov & Hutter 2016, arXiv:1608.03983).

    Args:
        warmup: steps of linear warm-up, or their share of the run if below 1.
        final: factor that the decay ends on.
    """
    warming = _warmup_steps(warmup, total)
    if step < warming:
        return (step + 1) / warming
    # final + (1 - final) (1 + cos(pi p)) / 2
    return final + (1 - final) * (1 + math.cos(math.pi * _behind(step, total, warming))) / 2
