"""The relative error of the update that training made to the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def update_error(start: Sequence[Tensor], end: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """||end - wanted|| / ||wanted - start||, over all elements of lists of tensors, in float64 on the CPU."""
    # theta_0, theta_T, and theta_T of the reference
    before, after, reference = (
        torch.cat([x.detach().to("cpu", torch.float64).flatten() for x in each]) for each in (start, end, wanted)
    )
    return float((after - reference).norm() / (reference - before).norm())
