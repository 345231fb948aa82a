"""Which parameters decay."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn


def parameter_groups(model: nn.Module, *, decay: Literal["weights", "all"] = "weights") -> list[dict[str, Any]]:
    """The model's trainable parameters as optimizer groups; each tied parameter stands once.

    Vectors and scalars (biases, the weights of norms) do not shape a function's complexity as matrices and kernels do;
    decaying them hurts (Goyal et al. 2017, arXiv:1706.02677, section 5; He et al. 2018, arXiv:1812.01187, section 3.1).

    Args:
        decay: what weight_decay applies to: weights spares norms and biases (tensors of at most one dimension).
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if decay == "all":
        return [{"params": parameters}]
    spared = [parameter for parameter in parameters if parameter.dim() <= 1]
    rest = [parameter for parameter in parameters if parameter.dim() > 1]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
