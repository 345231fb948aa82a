"""How a tensor lies in memory, which kernels that walk over raw memory ask."""

from __future__ import annotations

import functools

from torch import Tensor


def is_dense(tensor: Tensor) -> bool:
    """Whether the tensor covers its memory without gaps or overlaps, in whatever order of dimensions."""
    return _cover(tensor.shape, tensor.stride())


@functools.lru_cache(1024)  # asked of each tensor at each step
def _cover(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
