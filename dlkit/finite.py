"""Checks for NaN and infinity in weights, model outputs and metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from dlkit.errors import NotFiniteError

Name = TypeVar("Name", bound=Hashable)


def first_not_finite(tensors: Mapping[Name, Tensor]) -> Name | None:
    """The name of the first tensor that holds NaN or infinity, or None. Waits for the device, once for each dtype."""
    floating = {name: value for name, value in tensors.items() if value.is_floating_point() and value.numel()}
    if not floating:
        return None
    # max |x| is finite only if every x is; a sum of squares could overflow although all its terms are finite
    most = torch._foreach_norm([value.detach() for value in floating.values()], math.inf)
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, value in enumerate(most):
        kinds.setdefault((value.device, value.dtype), []).append(index)
    bad = [
        index
        for own in kinds.values()
        for index, norm in zip(own, torch.stack([most[i] for i in own]).tolist(), strict=True)
        if not math.isfinite(norm)
    ]
    return list(floating)[min(bad)] if bad else None


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity. Waits for the device, once for each dtype."""
    return first_not_finite(dict(enumerate(tensors))) is None


def require_finite_weights(tensors: Mapping[str, Tensor], where: object) -> None:
    """Raise NotFiniteError naming the first weight that holds NaN or infinity."""
    name = first_not_finite(tensors)
    if name is not None:
        raise NotFiniteError(
            f"{where}: {name} holds numbers that are not finite",
            "take a checkpoint from before that, or train anew with a lower optimizer.lr",
        )


def require_finite_outputs(not_finite: int, samples: int, unit: str = "samples") -> None:
    """Raise NotFiniteError if a model's output was NaN or infinite for some of so many samples."""
    if not_finite:
        share = f"{not_finite:,} of {samples:,} {unit}"
        raise NotFiniteError(f"the model's output is NaN or infinite for {share}")


def require_finite_metrics(metrics: Mapping[str, float]) -> None:
    """Raise NotFiniteError naming the metrics that are NaN or infinite, if any is."""
    bad = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
    if bad:
        constant = all(re.search("pearson|spearman", text) for text in bad)
        hint = "a correlation is undefined where all outputs or all targets are equal" if constant else None
        raise NotFiniteError(f"not a finite number: {', '.join(bad)}", hint)
