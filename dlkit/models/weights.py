"""Pre-trained weights: checkpoints of torchvision, timm, ConvNeXt's authors and the public CIFAR ResNets.

Names are translated by rule, so that every size of an architecture is covered. Files are safetensors, or torch's format
read with weights_only=True: no code from a file is ever run.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dlkit.annotations import Natural
from dlkit.errors import DlkitError, RequestError
from dlkit.nn.dropout import Dropout
from dlkit.nn.norm import BatchNorm
from dlkit.nn.stochastic_depth import StochasticDepth

Loader = Callable[[nn.Module, dict[str, Tensor]], None]

# What stands in the place of a file that was not really downloaded, by how it begins: what it is, and what to do.
_NO_WEIGHTS = {
    b"<!doctype": ("a web page", "download the file itself, not the page about it"),
    b"<html": ("a web page", "download the file itself, not the page about it"),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself: git lfs pull"),
}
# Where training scripts keep the state dict in what they save; what wrappers put before every name.
_HOLDERS = ("state_dict", "model", "net", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.", "model.")


def _one_up(template: str) -> Callable[[re.Match[str]], str]:
    """`template` with the first group + 1 and the rest as they are: others count stages from 0."""
    return lambda match: template.format(int(match[1]) + 1, *match.groups()[1:])


def _halved(template: str) -> Callable[[re.Match[str]], str]:
    """torchvision's features alternate: 0 the stem, 1 stage 1, 2 the halving before stage 2, 3 stage 2, ..."""
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

# (whole name, ours), tried in order; a name that none matches stays as it is.
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


def pretrained(
    model: nn.Module,
    load: Loader,
    *,
    weights: Path | None = None,
    freeze: Literal["backbone"] | Natural = 0,
    new_head: bool = False,
) -> list[str]:
    """Load weights into a new model and freeze a part of it. Returns remarks about what was not taken as it was.

    A last layer of another number of classes is left as it was initialised: its classes are others.

    Args:
        model: to change.
        load: copies a state dict into a model, and raises DlkitError where they do not fit.
        weights: a checkpoint of this architecture: .safetensors, .pth or .pt, or a run or checkpoint of
            dlkit.
        freeze: how many stages from the input are not trained, the stem counting as one; backbone is all but the last
            layer. Their norms, dropout and stochastic depth act as in evaluation.
        new_head: whether the last layer starts anew although `weights` has as many classes: they are others.

    Raises:
        DlkitError: the file is not there, damaged, holds anything but tensors, or does not fit the model.
        RequestError: more stages are to be frozen than there are, or the model has none.
    """
    remarks: list[str] = []
    if weights is not None:
        tensors = translate(read(Path(weights)), model)
        own = model.state_dict()
        if new_head and not _head(model):
            raise RequestError("model.new_head is set, but the model does not say what its last layer is")
        head = [name for name in own if name.startswith(f"{_head(model)}.")]
        given, wanted = (next((state[name].shape for name in head if name in state), None) for state in (tensors, own))
        if given is not None and wanted is not None and given != wanted and given[1:] == wanted[1:]:
            remarks.append(f"{weights} has {given[0]} classes, the data {wanted[0]}: the last layer starts anew")
        if remarks or (new_head and given == wanted):
            tensors |= {name: own[name] for name in head}
        try:
            load(model, tensors)
        except DlkitError as error:
            raise DlkitError(
                f"{weights}: {error.message}", "give model.name and model.weights that go together"
            ) from error
    if freeze:
        _freeze(model, freeze)
    return remarks


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name, without what wraps them. Raises DlkitError if it cannot be read."""
    if (path / "checkpoints").is_dir():  # a dlkit run
        best = path / "checkpoints" / "best"
        path = best if best.is_dir() else path / "checkpoints" / "last"
    if path.is_dir():  # a dlkit checkpoint
        path = path / ("ema.safetensors" if (path / "ema.safetensors").is_file() else "model.safetensors")
    if not path.is_file():
        raise DlkitError(f"no such file of weights: {path}", "model.weights is a .safetensors, .pth or .pt file")
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
        for beginning, (what, hint) in _NO_WEIGHTS.items():
            if start.startswith(beginning):
                raise DlkitError(f"{path} is {what}, not weights", hint)
        if not start:
            raise DlkitError(f"{path} is empty", "is the download whole?")
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DlkitError(
            f"{path} holds more than tensors, or is damaged: loading it could run code, so it is not loaded",
            "save only the state dict: torch.save(model.state_dict(), FILE), or better as .safetensors",
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
        raise DlkitError(f"cannot read the weights {path}: {reason}", "is the file whole?") from error
    for holder in _HOLDERS:
        if isinstance(found, Mapping) and isinstance(found.get(holder), Mapping):
            found = found[holder]
    if not isinstance(found, Mapping):
        raise DlkitError(f"{path} holds a {type(found).__name__}, not a state dict", "save model.state_dict()")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise DlkitError(f"{path} holds no tensors", "save model.state_dict()")
    for wrapper in _WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return tensors


def translate(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The tensors under the model's names, and in its shapes where these differ by dimensions of 1.

    Counts of batches that older checkpoints lack are taken as 0, for nothing depends on them.
    """
    own = model.state_dict()
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        ours = name if name in own else _translated(name)
        wanted = own.get(ours)
        if wanted is not None and value.shape != wanted.shape and value.squeeze().shape == wanted.squeeze().shape:
            value = value.reshape(wanted.shape)  # layer_scale (C, 1, 1), linear layers as 1x1 convolutions
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
