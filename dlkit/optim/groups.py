"""Parameter groups: which parameters have weight decay, and their learning rates."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from torch import nn

from dlkit.annotations import Gt, Le, Positive
from dlkit.errors import RequestError, require_choice

Decay = Literal["weights", "all"]


def parameter_groups(
    model: nn.Module,
    *,
    decay: Decay = "weights",
    layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0,
    head_factor: Positive = 1.0,
    bias_factor: Positive = 1.0,
) -> list[dict[str, Any]]:
    """The model's trainable parameters as optimizer groups; a tied parameter occurs once.

    By default biases and norms have no weight decay, which would hurt accuracy (Goyal et al. 2017, arXiv:1706.02677,
    section 5; He et al. 2018, arXiv:1812.01187, section 3.1). The learning rate of a group is the optimizer's times the
    group's `lr_factor`.

    Args:
        decay: what weight_decay applies to: weights excludes norms and biases (tensors of at most one dimension).
        layer_decay: ratio of the learning rates of a layer and the next one (Clark et al., arXiv:2003.10555).
        head_factor: factor of the learning rate of the last layer.
        bias_factor: factor of the learning rate of norms and biases.

    Raises:
        RequestError: layer_decay or head_factor is set, and the model does not say what its layers are; an
            unknown decay.
    """
    require_choice("decay", decay, get_args(Decay))
    layers = _layers(model)
    if not layers and (layer_decay != 1 or head_factor != 1):
        raise RequestError(
            f"{type(model).__name__} does not say what its layers are, so they cannot have learning rates of their own",
            "leave out optimizer.layer_decay and optimizer.head_factor",
        )
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        vector = parameter.dim() <= 1
        factor = bias_factor if vector else 1.0
        if layers:
            # lr_l = lr d^(L - l) for layer l of L, the last one being the head
            layer = next(i for i, prefixes in enumerate(layers) if name.startswith(prefixes))
            factor *= layer_decay ** (len(layers) - 1 - layer)
            factor *= head_factor if name.startswith(layers[-1][-1:]) else 1.0
        spared = vector and decay == "weights"
        group: dict[str, Any] = {"params": []}
        if spared:
            group["weight_decay"] = 0.0
        if factor != 1:
            group["lr_factor"] = factor
        groups.setdefault((factor, spared), group)["params"].append(parameter)
    return sorted(groups.values(), key=lambda group: "lr_factor" in group)  # those without a factor first


def _layers(model: nn.Module) -> list[tuple[str, ...]]:
    """Prefixes of the parameters of each layer, from the input to the head; empty if the model names no stages.

    The first and the last stage are one layer each. In between, the last module of a stage is a sequence of blocks,
    each of them a layer; modules before it belong to the first block.
    """
    stages: tuple[tuple[str, ...], ...] = getattr(model, "stages", ())
    if not stages:
        return []
    layers = [tuple(f"{name}." for name in stages[0])]
    for *before, sequence in stages[1:-1]:
        for name, _ in model.get_submodule(sequence).named_children():
            layers.append((f"{sequence}.{name}.", *(f"{other}." for other in before if name == "0")))
    return [*layers, tuple(f"{name}." for name in stages[-1])]
