"""A state dict that torchvision's own constructor loads strictly: the inverse of `dlkit.pretrained.vision`.

Whether torchvision has a network is found by trying: one of the same stages must load the weights and give the same
logits.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit.errors import DlkitError, RequestError
from dlkit.export.description import describe
from dlkit.export.exportable import Exportable
from dlkit.export.formats import STATE_DICT
from dlkit.export.side_files import side_files
from dlkit.export.tracing import require_same_answers
from dlkit.models.convnext import ConvNeXt
from dlkit.models.resnet import ResNet

# Blocks of each stage -> the constructors of torchvision and timm, for blocks of two and of three convolutions.
RESNETS: dict[tuple[int, tuple[int, ...]], str] = {
    (2, (2, 2, 2, 2)): "resnet18",
    (2, (3, 4, 6, 3)): "resnet34",
    (3, (3, 4, 6, 3)): "resnet50",
    (3, (3, 4, 23, 3)): "resnet101",
    (3, (3, 8, 36, 3)): "resnet152",
}
# Blocks and channels of each stage.
CONVNEXTS: dict[tuple[tuple[int, ...], tuple[int, ...]], str] = {
    ((2, 2, 8, 2), (80, 160, 320, 640)): "convnext_nano",  # which only timm has
    ((3, 3, 9, 3), (96, 192, 384, 768)): "convnext_tiny",
    ((3, 3, 27, 3), (96, 192, 384, 768)): "convnext_small",
    ((3, 3, 27, 3), (128, 256, 512, 1024)): "convnext_base",
    ((3, 3, 27, 3), (192, 384, 768, 1536)): "convnext_large",
}
_BLOCK = {"conv": "block.0", "norm": "block.2", "expand": "block.3", "project": "block.5"}
_OUTER = {"stem": "features.0", "norm": "classifier.0", "fc": "classifier.2"}


@dataclass(frozen=True)
class Counterpart:
    """A network of torchvision with the weights of one of ours.

    Args:
        name: of the architecture, as torchvision and timm call it; None where only the general form has it.
        constructor: Python that makes it.
        network: in evaluation mode.
        difference: the largest difference of a logit from ours.
    """

    name: str | None
    constructor: str
    network: nn.Module
    difference: float


def write_state_dict(exportable: Exportable, folder: Path) -> dict[str, Any]:
    """Write model.pth; returns fields of the command's record. Raises RequestError as `torchvision_counterpart`."""
    found = torchvision_counterpart(exportable)
    content = io.BytesIO()  # on a full disk, torch's own writer would end the process
    torch.save(found.network.state_dict(), content)
    (folder / STATE_DICT).write_bytes(content.getbuffer())
    description = describe(exportable, "torchvision", in_graph=False, constructor=found.constructor)
    for name, text in side_files(exportable, description).items():
        (folder / name).write_text(text, encoding="utf-8")
    return {"constructor": found.constructor, "difference": found.difference}


def torchvision_counterpart(exportable: Exportable) -> Counterpart:
    """The same network of torchvision. Raises RequestError where it has none."""
    model, classes = exportable.model, len(exportable.classes)
    if not isinstance(model, (ResNet, ConvNeXt)):
        raise _absent(exportable, "")
    shape = exportable.examples["pixels"].shape
    if shape[1] != 3:
        raise _absent(exportable, f" of images with {shape[1]} channel{'s' if shape[1] > 1 else ''}")
    made = _resnet(model, classes) if isinstance(model, ResNet) else _convnext(model, classes)
    if made is None:
        raise _absent(exportable, f" with {len(model.stages) - 2} stages")
    name, constructor, network, rename = made
    own = network.state_dict()
    tensors = {rename(ours): value for ours, value in model.state_dict().items()}
    differ = [key for key in own.keys() | tensors.keys() if key not in tensors or key not in own]
    differ += [key for key in own.keys() & tensors.keys() if own[key].numel() != tensors[key].numel()]
    if differ:
        raise _absent(exportable, f" that has just the weights of {constructor}: {min(differ)} differs")
    network.load_state_dict({key: value.reshape(own[key].shape) for key, value in tensors.items()})
    try:
        difference = _difference(exportable, network.eval())
    except DlkitError as error:
        raise _absent(exportable, f" that answers as this one does: {constructor} does not") from error
    return Counterpart(name, constructor, network, difference)


def _absent(exportable: Exportable, which: str) -> RequestError:
    return RequestError(f"{exportable.path} is a model of {exportable.name}; torchvision has none{which}")


@torch.no_grad()
def _difference(exportable: Exportable, network: nn.Module) -> float:
    graph: Any = exportable.graph
    pixels = exportable.examples["pixels"]
    return require_same_answers(
        exportable, {"pixels": pixels}, graph.answer(network, (pixels.float() - graph.mean) / graph.std)
    )


_Made = tuple[str | None, str, nn.Module, Callable[[str], str]]


def _resnet(model: ResNet, classes: int) -> _Made | None:
    from torchvision.models import resnet

    stages: list[Any] = [getattr(model, name) for (name,) in model.stages[1:-1]]
    if len(stages) != 4 or not all(stages):
        return None
    depths, convolutions = tuple(map(len, stages)), stages[0][0].depth
    block = resnet.BasicBlock if convolutions == 2 else resnet.Bottleneck
    name = RESNETS.get((convolutions, depths))
    general = f"torchvision.models.resnet.ResNet(torchvision.models.resnet.{block.__name__}, {list(depths)}"
    constructor = f"{f'torchvision.models.{name}(' if name else f'{general}, '}num_classes={classes})"
    return name, constructor, resnet.ResNet(block, list(depths), num_classes=classes), str


def _convnext(model: ConvNeXt, classes: int) -> _Made | None:
    from torchvision.models import convnext

    stages: list[Any] = [getattr(model, f"stage{i}") for i in range(1, len(model.stages) - 1)]
    depths = tuple(map(len, stages))
    widths = tuple(stage[0].project.out_features for stage in stages)
    settings = [
        convnext.CNBlockConfig(width, after, depth)
        for width, after, depth in zip(widths, (*widths[1:], None), depths, strict=True)
    ]
    name = CONVNEXTS.get((depths, widths))
    module = "torchvision.models.convnext"
    stages = [f"{module}.CNBlockConfig({s.input_channels}, {s.out_channels}, {s.num_layers})" for s in settings]
    general = f"{module}.ConvNeXt([{', '.join(stages)}], num_classes={classes})"
    special = f"torchvision.models.{name}(num_classes={classes})"
    return (
        name,
        special if name and name != "convnext_nano" else general,
        convnext.ConvNeXt(settings, num_classes=classes),
        _convnext_name,
    )


def _convnext_name(ours: str) -> str:
    """torchvision's features alternate: 0 the stem, 1 stage 1, 2 the halving before stage 2, 3 stage 2, ..."""
    if match := re.fullmatch(r"stage(\d+)\.(\d+)\.scale\.gamma", ours):
        return f"features.{2 * int(match[1]) - 1}.{match[2]}.layer_scale"
    if match := re.fullmatch(r"stage(\d+)\.(\d+)\.(\w+)\.(\w+)", ours):
        return f"features.{2 * int(match[1]) - 1}.{match[2]}.{_BLOCK[match[3]]}.{match[4]}"
    if match := re.fullmatch(r"downsample(\d+)\.(.+)", ours):
        return f"features.{2 * int(match[1]) - 2}.{match[2]}"
    first, _, rest = ours.partition(".")
    return f"{_OUTER[first]}.{rest}"
