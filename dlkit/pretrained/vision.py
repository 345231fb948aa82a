"""Pretrained vision models: checkpoints of torchvision, timm, ConvNeXt's authors and the public CIFAR ResNets.

Names are translated by rule, so that every size of an architecture is covered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from dlkit.annotations import Natural
from dlkit.errors import DlkitError, RequestError
from dlkit.nn.activations import activation_layer
from dlkit.nn.dropout import Dropout
from dlkit.nn.norm import BatchNorm
from dlkit.nn.stochastic_depth import StochasticDepth
from dlkit.pretrained import zero_padding
from dlkit.pretrained.head_classes import head_rows
from dlkit.pretrained.zero_padding import Zeros

if TYPE_CHECKING:
    from dlkit.pretrained.weights import Weights

Loader = Callable[[nn.Module, dict[str, Tensor]], None]


def _one_up(template: str) -> Callable[[re.Match[str]], str]:
    """Fill `template` with the first group + 1 and the other groups unchanged, for names that count stages from 0."""
    return lambda match: template.format(int(match[1]) + 1, *match.groups()[1:])


def _halved(template: str) -> Callable[[re.Match[str]], str]:
    """torchvision's features alternate: 0 the stem, 1 stage 1, 2 the downsampling before stage 2, 3 stage 2, ..."""
    return lambda match: template.format(int(match[1]) // 2 + 1, *match.groups()[1:])


_BLOCK = {"conv_dw": "conv", "dwconv": "conv", "norm": "norm", "mlp.fc1": "expand", "pwconv1": "expand"}
_BLOCK |= {"mlp.fc2": "project", "pwconv2": "project", "gamma": "scale.gamma"}
_BLOCK |= {
    "block.0": "conv",
    "block.2": "norm",
    "block.3": "expand",
    "block.5": "project",
    "layer_scale": "scale.gamma",
}
_PART = "|".join(re.escape(part) for part in _BLOCK)

# (pattern for the whole name, dlkit's name), tried in order; a name without a match stays unchanged.
_RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"linear\.(.+)", r"fc.\1"),  # public CIFAR ResNets
    (r"(layer\d+\.\d+)\.shortcut\.(.+)", r"\1.downsample.\2"),
    (r"features\.0\.(.+)", r"stem.\1"),  # torchvision's ConvNeXt
    (rf"features\.(\d*[13579])\.(\d+)\.({_PART})(.*)", lambda m: _halved("stage{0}.{1}.")(m) + _BLOCK[m[3]] + m[4]),
    (r"features\.(\d*[02468])\.(.+)", _halved("downsample{0}.{1}")),
    (r"classifier\.0\.(.+)", r"norm.\1"),
    (r"classifier\.2\.(.+)", r"fc.\1"),
    (r"stages\.(\d+)\.downsample\.(.+)", _one_up("downsample{0}.{1}")),  # timm's
    (rf"stages\.(\d+)\.(?:blocks\.)?(\d+)\.({_PART})(.*)", lambda m: _one_up("stage{0}.{1}.")(m) + _BLOCK[m[3]] + m[4]),
    (r"head\.norm\.(.+)", r"norm.\1"),
    (r"head\.fc\.(.+)", r"fc.\1"),
    (r"downsample_layers\.0\.(.+)", r"stem.\1"),  # the authors'
    (r"downsample_layers\.(\d+)\.(.+)", _one_up("downsample{0}.{1}")),
    (r"head\.(weight|bias)", r"fc.\1"),
)


def load_pretrained(
    model: nn.Module,
    load: Loader,
    classes: Sequence[str] | None = None,
    *,
    weights: Path | None = None,
    freeze: Literal["backbone"] | Natural = 0,
    new_head: bool = False,
    labels: tuple[str, ...] | None = None,
    shortcut_zeros: Zeros = "auto",
) -> list[str]:
    """Load weights into a new model and freeze a part of it. Returns remarks about weights changed or left out.

    The rows of the last layer are matched to the data's classes by name. A layer for another number of classes keeps
    its initial weights.

    Args:
        model: modified in place.
        load: copies a state dict into a model, and raises DlkitError if it does not fit.
        classes: names of the data's classes; None to match the rows by position.
        weights: a checkpoint of this architecture: .safetensors, .pth or .pt, or a run or checkpoint of
            dlkit.
        freeze: number of stages from the input that are not trained, the stem included; backbone is all but the last
            layer. Their norms, dropout and stochastic depth behave as in evaluation.
        new_head: whether to reinitialise the last layer although `weights` has as many classes, since they are others.
        labels: the class of each output of `weights`; null for the names stored there, which only a run has.
        shortcut_zeros: where the network of `weights` pads its shortcuts with zero channels, at both sides or at the
            end, which no file says; auto takes both for files that name their last layer "linear", as the public CIFAR
            ResNets do, and end for others.

    Raises:
        DlkitError: the file is missing or damaged, holds anything but tensors, or does not fit the model.
        RequestError: the model has fewer stages than `freeze`, or cannot have such `shortcut_zeros`, or the last
            layer's classes have other names than the data's.
    """
    remarks: list[str] = []
    if weights is None and labels is not None:
        raise RequestError("model.labels is about model.weights, which is not set", "leave model.labels out")
    if weights is not None:
        from dlkit.pretrained.open_weights import open_weights  # which reads language models too

        file = open_weights(Path(weights))
        tensors = translate(file.tensors, model)
        if file.left_out:
            remarks.append(f"{weights} also holds {', '.join(file.left_out)}, which is left out")
        if file.activation is not None and not _has_activation(model, file.activation):
            remarks.append(f"{weights} was trained with model.activation={file.activation}, which this model has not")
        if shortcut_zeros != "auto" and not zero_padding.pads(model):
            raise RequestError(
                f"model.shortcut_zeros is {shortcut_zeros}, but no shortcut of this model pads", "use auto"
            )
        if zero_padding.pads(model):
            tensors, padded = _padded_behind(tensors, model, file, shortcut_zeros)
            remarks += [f"{weights}: {padded}"] if padded else []
        if (new_head or labels is not None) and not _head(model):
            raise RequestError("model.new_head and model.labels need a model that says what its last layer is")
        changed, more = _head_by_name(tensors, model, Path(weights), file.classes, classes, labels, new_head)
        tensors |= changed
        remarks += more
        try:
            load(model, tensors)
        except DlkitError as error:
            raise DlkitError(
                f"{weights}: {error.message}", "give model.name and model.weights that go together"
            ) from error
    if freeze:
        _freeze(model, freeze)
    return remarks


def _has_activation(model: nn.Module, name: str) -> bool:
    wanted = {repr(activation_layer(name, inplace=inplace)) for inplace in (False, True)}  # type: ignore[arg-type]
    return any(repr(module) in wanted for module in model.modules())


def _head_by_name(
    tensors: dict[str, Tensor],
    model: nn.Module,
    path: Path,
    names: Sequence[str],
    classes: Sequence[str] | None,
    labels: Sequence[str] | None,
    new_head: bool,
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of the last layer, permuted to the data's classes or as initialised, and remarks."""
    own = model.state_dict()
    head = [name for name in own if name.startswith(f"{_head(model)}.") and name in tensors]
    if not head or any(tensors[name].shape[1:] != own[name].shape[1:] for name in head):
        return {}, []  # a mismatch is reported on loading
    if classes is None:
        classes = names = [str(row) for row in range(len(own[head[0]]))]
    rows, remarks = head_rows(path, len(tensors[head[0]]), names, classes, labels, new_head)
    return {name: own[name] if rows is None else tensors[name][rows] for name in head}, remarks


def _padded_behind(
    tensors: dict[str, Tensor], model: nn.Module, file: Weights, zeros: Zeros
) -> tuple[dict[str, Tensor], str]:
    """The tensors for shortcuts that pad at the end, and a remark if the padding of their network had to be assumed."""
    if file.own and zeros == "auto":
        return tensors, ""
    named = "linear.weight" in file.tensors and zero_padding.can_pad_on_both_sides(model)
    if zeros == "both" or (zeros == "auto" and named):
        note = "taken as a public CIFAR ResNet, whose shortcuts pad zeros on both sides (else model.shortcut_zeros=end)"
        return zero_padding.from_both_sides(tensors, model), note if zeros == "auto" else ""
    note = "its shortcuts are taken to pad zeros behind, as dlkit's do (else model.shortcut_zeros=both)"
    return tensors, note if zeros == "auto" else ""


def output_count(tensors: Mapping[str, Tensor], model: nn.Module) -> int:
    """The number of outputs of the last layer in a file of weights. Raises DlkitError if the layer is missing."""
    name = f"{_head(model)}.weight"
    found = translate(tensors, model).get(name)
    if not _head(model) or found is None or not found.dim():
        raise DlkitError(f"the weights have no last layer {name}", "give `model` and weights that go together")
    return len(found)


def translate(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors under the model's names, reshaped if shapes differ in dimensions of size 1 only.

    Batch counts, which older checkpoints lack and nothing depends on, default to 0.
    """
    own = model.state_dict()
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        ours = name if name in own else _translated(name)
        wanted = own.get(ours)
        if wanted is not None and value.shape != wanted.shape and value.squeeze().shape == wanted.squeeze().shape:
            value = value.reshape(wanted.shape)  # layer_scale (C, 1, 1), linear layers as 1x1 convolutions
        if ours in result:
            raise DlkitError(f"two tensors for {ours}, one of them {name}", "save the weights of one model")
        result[ours] = value
    counts = [name for name in own if name.endswith(".num_batches_tracked")]
    return {name: torch.tensor(0) for name in counts} | result


def _translated(name: str) -> str:
    for pattern, ours in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(ours) if isinstance(ours, str) else ours(match)
    return name


def _stages(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    return getattr(model, "stages", ())


def _head(model: nn.Module) -> str:
    """The name of the last layer."""
    return _stages(model)[-1][-1] if _stages(model) else ""


def _freeze(model: nn.Module, freeze: Literal["backbone"] | int) -> None:
    stages = _stages(model)
    if not stages or (freeze != "backbone" and freeze >= len(stages)):
        count = f"{len(stages)} stages, the last layer among them" if stages else "no stages"
        raise RequestError(f"model.freeze is {freeze}, but the model has {count}", "set model.freeze=backbone, or less")
    names = {name for stage in (stages if freeze == "backbone" else stages[:freeze]) for name in stage}
    for name in names - {_head(model)}:
        part = model.get_submodule(name)
        part.requires_grad_(False)
        for module in part.modules():
            if isinstance(module, BatchNorm):
                module.frozen = True
            elif isinstance(module, (Dropout, StochasticDepth)):
                module.p = 0.0
