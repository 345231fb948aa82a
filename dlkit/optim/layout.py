"""The memory layout of tensors, for kernels that ignore strides."""

from __future__ import annotations

import functools

from torch import Tensor


def is_dense(tensor: Tensor) -> bool:
    """Whether the tensor covers its memory without gaps or overlaps, in any order of dimensions."""
    return _cover(tensor.shape, tensor.stride())


@functools.lru_cache(1024)  # called for each tensor at each step
def _cover(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
