"""A copy of tensors before a step, to undo it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Snapshot:
    """Memory for a copy of some tensors, in one kernel for all of a dtype.

    Args:
        tensors: those to copy.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
        self._kinds = [(own, [torch.empty_like(tensor) for tensor in own]) for own in kinds.values()]

    @torch.no_grad()
    def take(self) -> None:
        """Copy the tensors as they are now."""
        for own, kept in self._kinds:
            torch._foreach_copy_(kept, own)

    @torch.no_grad()
    def put_back(self) -> None:
        """Restore them."""
        for own, kept in self._kinds:
            torch._foreach_copy_(own, kept)
