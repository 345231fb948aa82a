"""A list of tensors that behaves like one, so that a rule written for one tensor applies to all of them.

Each operation calls one of torch's `_foreach_` functions, which take lists of tensors. On CUDA that is a few kernel
launches for all tensors of a model, not one for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

# A hyper-parameter: a number, or a tensor (R, 1, ...) with a value for each of R stacked models, parameters (R, ...).
Number = float | Tensor


class Many:
    """A list of tensors with the methods and operators of one tensor; the other operand is a number or a `Many`.

    `many.lerp_(others, 0.1)` is torch._foreach_lerp_(tensors, the others' tensors, 0.1), and so on for every method
    that has such a function.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation: Callable[..., Any] | None = getattr(torch, f"_foreach_{name}", None)
        if operation is None:
            raise AttributeError(f"torch has no _foreach_{name}")

        def call(*arguments: Any, **options: Any) -> Many:
            result = operation(self.tensors, *map(_bare, arguments), **options)
            return self if name.endswith("_") else Many(list(result))

        return call

    def __add__(self, other: Any) -> Many:
        return self.add(other)

    def __iadd__(self, other: Any) -> Many:
        if self.tensors[0].is_cpu and isinstance(other, int):
            # for step counts: a number would be converted to a tensor for each of them
            return self.add_(torch.tensor(other), alpha=1)
        return self.add_(other)

    def __sub__(self, other: Any) -> Many:
        return self.sub(other)

    def __mul__(self, other: Any) -> Many:
        return self.mul(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Many:
        return self.div(other)

    def __rtruediv__(self, other: Any) -> Many:
        return self.reciprocal().mul(other)

    def __neg__(self) -> Many:
        return self.neg()


def many(tensors: list[Tensor]) -> Tensor:
    """The tensors as `Many`, typed as a tensor since rules are written for one."""
    return cast(Tensor, Many(tensors))


def _bare(value: Any) -> Any:
    return value.tensors if isinstance(value, Many) else value


def add_(x: Tensor, y: Tensor, factor: Number) -> None:
    """x <- x + factor y."""
    x.add_(factor * y) if isinstance(factor, (Tensor, Many)) else x.add_(y, alpha=factor)


def addcmul_(x: Tensor, y: Tensor, z: Tensor, factor: Number) -> None:
    """x <- x + factor y z."""
    x.addcmul_(factor * y, z) if isinstance(factor, (Tensor, Many)) else x.addcmul_(y, z, value=factor)


def addcdiv_(x: Tensor, y: Tensor, z: Tensor, factor: Number) -> None:
    """x <- x + factor y / z."""
    x.addcdiv_(factor * y, z) if isinstance(factor, (Tensor, Many)) else x.addcdiv_(y, z, value=factor)
