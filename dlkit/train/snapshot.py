"""Tensors as they were before a step, to go back to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Snapshot:
    """Room for a copy of tensors, which `take` fills and `put_back` writes back: few launches, however many they are.

    Args:
        tensors: what is copied.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
        self._kinds = [(own, [torch.empty_like(tensor) for tensor in own]) for own in kinds.values()]

    @torch.no_grad()
    def take(self) -> None:
        for own, kept in self._kinds:
            torch._foreach_copy_(kept, own)

    @torch.no_grad()
    def put_back(self) -> None:
        for own, kept in self._kinds:
            torch._foreach_copy_(own, kept)
