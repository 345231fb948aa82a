"""The state of an optimizer as tensors by name, for a file: that of one run, or of the runs of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# As in the `state` of torch's state dicts: the index of a parameter -> the name of a moment -> its value.
OptimizerState = Mapping[int, Mapping[str, Any]]


def flatten_optimizer_state(state: OptimizerState, prefix: str) -> dict[str, Tensor]:
    """Its tensors as `prefix.index.name`. Numbers are left out."""
    return {
        f"{prefix}.{index}.{name}": value
        for index, moments in state.items()
        for name, value in moments.items()
        if isinstance(value, Tensor)
    }


def unflatten_optimizer_state(tensors: Mapping[str, Tensor], prefix: str) -> dict[int, dict[str, Any]]:
    """The state back from such tensors; those with another prefix are passed over."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        first, _, rest = key.partition(".")
        if first == prefix:
            index, _, name = rest.partition(".")
            state.setdefault(int(index), {})[name] = value
    return state
