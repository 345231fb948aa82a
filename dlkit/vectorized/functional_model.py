"""A model called with parameters from outside, as torch.func needs it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call


class FunctionalModel:
    """A model with given parameters and buffers, with the interface that tasks need.

    It has no `vocabulary`, so that language models compute all logits at once; the size of a stack allows for that.
    """

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
        self._model, self._parameters, self._buffers = model, parameters, buffers

    def __call__(self, inputs: Tensor) -> Tensor:
        return functional_call(self._model, (self._parameters, self._buffers), (inputs,))

    def parameters(self) -> list[Tensor]:
        return list(self._parameters.values())
