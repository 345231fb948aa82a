"""A network for images as timm's directory: `timm.create_model("local-dir:DIR", pretrained=True)`.

timm's ResNets have torchvision's names; its ConvNeXts have names of their own.
"""

from __future__ import annotations

import math
import re
from typing import Any

from torch import Tensor

from dlkit.errors import RequestError
from dlkit.export.exportable import Exportable
from dlkit.export.torchvision_weights import torchvision_counterpart
from dlkit.models.convnext import ConvNeXt

_PARTS = {"conv": "conv_dw", "norm": "norm", "expand": "mlp.fc1", "project": "mlp.fc2"}
_OUTER = {"stem": "stem", "norm": "head.norm", "fc": "head.fc"}


def timm_architecture(exportable: Exportable) -> str:
    """timm's name for the network. Raises RequestError where it has none."""
    try:
        name = torchvision_counterpart(exportable).name
    except RequestError:
        name = None
    if name is None:
        raise RequestError(
            f"{exportable.path} is a model of {exportable.name}, of which Hugging Face's libraries have none"
        )
    return name


def timm_config(exportable: Exportable, architecture: str) -> dict[str, Any]:
    """The config.json of timm's directory: what the network is, its classes, and how it sees images."""
    assert exportable.normalisation is not None
    size = list(exportable.examples["pixels"].shape[1:])
    seen = exportable.preprocessing
    shorter = seen.get("shorter_side", size[-1])
    crop = size[-1] / shorter
    crop = crop if math.floor(size[-1] / crop) == shorter else math.nextafter(crop, 0)  # timm rounds down
    mean, std = ((values.double() / 255).tolist() for values in exportable.normalisation)
    classes = list(exportable.classes)
    return {
        "architecture": architecture,
        "num_classes": len(classes),
        "num_features": exportable.model.fc.in_features,  # pyright: ignore
        "label_names": classes,
        "pretrained_cfg": {
            "input_size": size,
            "fixed_input_size": False,
            "interpolation": seen.get("interpolation", "bilinear"),
            "crop_pct": crop,
            "crop_mode": "center",
            "mean": mean,
            "std": std,
            "num_classes": len(classes),
            "pool_size": None,
            "first_conv": "stem.0" if isinstance(exportable.model, ConvNeXt) else "conv1",
            "classifier": "head.fc" if isinstance(exportable.model, ConvNeXt) else "fc",
        },
    }


def timm_tensors(exportable: Exportable, architecture: str) -> dict[str, Tensor]:
    """The tensors of model.safetensors, under timm's names and in its shapes."""
    tensors = {name: value.detach() for name, value in exportable.model.state_dict().items()}
    if not isinstance(exportable.model, ConvNeXt):
        return tensors
    found = {_convnext_name(name): value for name, value in tensors.items()}
    if architecture == "convnext_nano":  # whose linear layers are convolutions of 1x1
        found |= {name: value[..., None, None] for name, value in found.items() if re.search(r"fc\d\.weight$", name)}
    return {name: value.contiguous() for name, value in found.items()}


def _convnext_name(ours: str) -> str:
    if match := re.fullmatch(r"stage(\d+)\.(\d+)\.scale\.gamma", ours):
        return f"stages.{int(match[1]) - 1}.blocks.{match[2]}.gamma"
    if match := re.fullmatch(r"stage(\d+)\.(\d+)\.(\w+)\.(\w+)", ours):
        return f"stages.{int(match[1]) - 1}.blocks.{match[2]}.{_PARTS[match[3]]}.{match[4]}"
    if match := re.fullmatch(r"downsample(\d+)\.(.+)", ours):
        return f"stages.{int(match[1]) - 1}.downsample.{match[2]}"
    first, _, rest = ours.partition(".")
    return f"{_OUTER[first]}.{rest}"
