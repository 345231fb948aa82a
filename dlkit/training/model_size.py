"""The memory that a model would need, found on the meta device, whose tensors have shapes and no contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dlkit import memory
from dlkit.errors import DlkitError

MOST_TENSORS = 20_000  # deeper models take minutes to build and hours to train
_HINT = "make the model smaller: fewer layers, narrower ones, or a smaller vocabulary"


class _ShapesOnly(TorchFunctionMode):
    """Skips in-place initialisation, which would load torch's decompositions, and counts the tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if args and isinstance(args[0], Tensor) and args[0].is_meta and name.endswith("_") and name[:2] != "__":
            return args[0]
        self.made += name in ("empty", "zeros", "ones", "full")
        if self.made > MOST_TENSORS:
            raise DlkitError(f"the model has more than {MOST_TENSORS:,} tensors", _HINT)
        return func(*args, **(kwargs or {}))


def model_without_contents(build: Callable[[], nn.Module]) -> nn.Module:
    """The model that `build` makes, on the meta device. What initialisation would fill in is left out."""
    with torch.device("meta"), _ShapesOnly():
        return build()


def require_room_for_model(build: Callable[[], nn.Module]) -> None:
    """Raise DlkitError if the weights of the model that `build` makes, and their gradients, cannot fit into memory."""
    try:
        model = model_without_contents(build)
        size = sum(p.numel() * p.element_size() * (1 + p.requires_grad) for p in model.parameters())
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        raise DlkitError("the model is larger than any memory", _HINT) from None
    memory.require_memory(size, "the model", _HINT)
