"""An order of examples in which every class comes equally often."""

from __future__ import annotations

import torch
from torch import Tensor

from dlkit.errors import RequestError


def balanced_order(targets: Tensor, generator: torch.Generator) -> Tensor:
    """As many indices as there are examples, (N,) int64, in random order, N / K of each of the K classes that occur.

    All examples of a class come once, in random order, before any of them comes again; draws with replacement would
    repeat some and miss others.

    Args:
        targets: (N,) int64 classes, on the CPU.
        generator: source of randomness.

    Raises:
        RequestError: the targets are numbers.
    """
    if targets.is_floating_point():
        raise RequestError("data.balance is set, and the label is a number, not a class", "data.balance=false")
    classes = targets.unique()
    # N / K, rounded up for some classes, which are drawn too
    share, rest = divmod(len(targets), len(classes))
    more = torch.randperm(len(classes), generator=generator) < rest
    drawn: list[Tensor] = []
    for each, extra in zip(classes.tolist(), more.tolist(), strict=True):
        rows, count = (targets == each).nonzero()[:, 0], share + extra
        rounds = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-count // len(rows)))]
        drawn.append(torch.cat([rows[:0], *rounds])[:count])
    order = torch.cat(drawn)
    return order[torch.randperm(len(order), generator=generator)]
