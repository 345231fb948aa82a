"""timm's config.json: the architecture and the preprocessing of images. Free of torch.

Wightman, "PyTorch Image Models", github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.annotations import is_list, is_mapping
from dlkit.errors import DlkitError

# Arguments of timm's constructors that do not change what a trained model computes.
_OF_TRAINING = ("num_classes", "pretrained", "drop_rate", "drop_path_rate", "drop_block_rate", "zero_init_last")
# Other arguments, with the values that dlkit supports.
_USUAL: dict[str, tuple[Any, ...]] = {
    "in_chans": (3,),
    "global_pool": ("avg", "fast", "fastavg"),
    "output_stride": (32,),
    "norm_eps": (1e-6,),
    "conv_mlp": (True, False),  # a 1x1 convolution is a linear layer
}
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_tanh", "silu": "silu", "swish": "silu"}
_INTERPOLATIONS = ("bilinear", "bicubic")
# Preprocessing that the file does not give: the defaults of timm's PretrainedCfg.
_INPUT_SIZE, _CROP, _INTERPOLATION = (3, 224, 224), 0.875, "bicubic"


@dataclass(frozen=True)
class TimmSettings:
    """The contents of a config.json.

    Args:
        model: the architecture.
        changes: to an image recipe: the keys of `model` and `data`.
        mean: of each channel in 0..1; None if the file does not give it.
        std: likewise.
        classes: names of the outputs; empty if the file does not give them.
        remarks: for the user: preprocessing that dlkit does differently.
    """

    model: str
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def is_timm(config: dict[str, Any]) -> bool:
    """Whether a config.json is timm's, not transformers'."""
    return "architecture" in config and "model_type" not in config


def timm_settings(config: dict[str, Any], file: Path) -> TimmSettings:
    """Read a config.json of timm.

    Raises DlkitError for a model or preprocessing that dlkit does not support: whatever changes the outputs is applied
    or reported.
    """
    seen = config.get("pretrained_cfg")
    seen = seen if is_mapping(seen) else {}
    changes, remarks = _view(seen, file)
    return TimmSettings(
        str(config["architecture"]),
        model_keys(config, file) | changes,
        _numbers(seen.get("mean")),
        _numbers(seen.get("std")),
        output_names(config),
        tuple(remarks),
    )


def output_names(config: dict[str, Any]) -> tuple[str, ...]:
    """The class name of each output; empty if the file does not give them."""
    names = config.get("label_names")
    return tuple(map(str, names)) if is_list(names) else ()


def model_keys(config: dict[str, Any], file: Path) -> dict[str, Any]:
    """The keys of `model` that correspond to the arguments of timm's constructor. Raises as `timm_settings`."""
    model = config["architecture"]
    given = config.get("model_args")
    arguments = {"global_pool": config.get("global_pool"), **(given if is_mapping(given) else {})}
    changes: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in _OF_TRAINING or value is None or value in _USUAL.get(name, ()):
            continue
        if name == "act_layer" and isinstance(value, str) and value in _ACTIVATIONS:
            changes["model.activation"] = _ACTIVATIONS[value]
        elif name == "in_chans":
            raise DlkitError(f"{file}: the model takes {value!r} channels", "dlkit imports models of colour images")
        else:
            raise DlkitError(f"{file}: dlkit has no {model} with {name} = {value!r}", "other models can be imported")
    return changes


def _view(seen: dict[str, Any], file: Path) -> tuple[dict[str, Any], list[str]]:
    """The keys of `data` for timm's preprocessing, and remarks about what differs."""
    shape, crop = seen.get("input_size") or _INPUT_SIZE, seen.get("crop_pct") or _CROP
    if not (isinstance(shape, (list, tuple)) and len(shape) == 3 and all(isinstance(side, int) for side in shape)):
        raise DlkitError(f"{file}: input_size = {shape!r}", "it is [channels, rows, columns]")
    if not (isinstance(crop, (int, float)) and 0.01 <= crop <= 1):
        raise DlkitError(f"{file}: crop_pct = {crop!r}", "it is the share of an image's side that is cut out, up to 1")
    _, height, width = shape
    if height != width:
        raise DlkitError(f"{file}: images are {height} x {width} pixels", "dlkit's are squares")
    # timm rounds down, others to the nearest
    changes: dict[str, Any] = {"data.size": width, "data.crop": crop, "data.resize": math.floor(width / crop)}
    how = seen.get("interpolation") or _INTERPOLATION
    if how in _INTERPOLATIONS:
        changes["data.interpolation"] = how
    remarks = [] if how in _INTERPOLATIONS else [f"{file}: interpolation = {how!r}; images are resized bilinearly"]
    mode = seen.get("crop_mode") or "center"
    if mode != "center":
        remarks.append(
            f"{file}: crop_mode = {mode!r}; dlkit cuts the centre out of an image whose sides keep their ratio"
        )
    return changes, remarks


def _numbers(values: Any) -> tuple[float, ...] | None:
    return tuple(map(float, values)) if is_list(values) and all(isinstance(v, (int, float)) for v in values) else None
