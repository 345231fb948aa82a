"""Files of third-party weights: safetensors, or torch's format, which is read without running any code in it."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dlkit.errors import DlkitError
from dlkit.finite import require_finite_weights
from dlkit.pretrained.timm_config import is_timm, model_keys, output_names
from dlkit.pretrained.weights import Weights
from dlkit.text_input import read_json_mapping

# First bytes of what a failed download leaves in place of weights -> what it is, and a hint.
_NO_WEIGHTS = {
    b"<!doctype": ("a web page", "download the file itself, not the page about it"),
    b"<html": ("a web page", "download the file itself, not the page about it"),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself: git lfs pull"),
}
# Keys under which training scripts save the state dict, and prefixes that wrappers add to every name.
_HOLDERS = ("state_dict", "model", "net", "model_state_dict", "state_dict_ema", "model_ema", "ema")
_WRAPPERS = ("module.", "_orig_mod.", "model.")


def read_weight_file(path: Path) -> Weights:
    """Read a file of third-party weights, or a folder with model.safetensors.

    The checksums inside a .pth file are verified; a .safetensors file has none.

    Raises:
        DlkitError: the file is missing or damaged, or holds anything but tensors.
        NotFiniteError: a weight is NaN or infinite.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    found = _open(file)
    left_out: list[str] = []
    for holder in _HOLDERS:
        if isinstance(found, Mapping) and isinstance(found.get(holder), Mapping):
            left_out += [str(name) for name, value in found.items() if name != holder and _is_state(value)]
            found = found[holder]
    if not isinstance(found, Mapping):
        raise DlkitError(f"{file} holds a {type(found).__name__}, not a state dict", "save model.state_dict()")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    tensors.pop("n_averaged", None)  # torch.optim.swa_utils.AveragedModel counts its averages
    if not tensors:
        raise DlkitError(f"{file} holds no tensors", "save model.state_dict()")
    while wrapper := next((w for w in _WRAPPERS if all(name.startswith(w) for name in tensors)), None):
        tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    require_finite_weights(tensors, file)
    weights = Weights(path=path, tensors=tensors, left_out=left_out)
    said = path / "config.json"
    if said.is_file() and is_timm(config := read_json_mapping(said, "is the download whole?")):
        weights.classes = output_names(config)
        weights.activation = model_keys(config, said).get("model.activation")
    return weights


# The last ones are raised by torch's unpickler on data that is not a pickle.
_UNREADABLE = (
    SafetensorError, RuntimeError, EOFError, ValueError, OSError, zipfile.BadZipFile, LookupError, TypeError,
    AttributeError, AssertionError, struct.error,
)  # fmt: skip


def _open(path: Path) -> Any:
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
            return load_file(path)
        if zipfile.is_zipfile(path):  # torch writes checksums into its archives, and does not verify them
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise DlkitError(f"{path} is damaged: the checksum of {damaged} in it is wrong", "get the file anew")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DlkitError(
            f"{path} holds more than tensors, or is damaged: loading it could run code, so it is not loaded",
            "save only the state dict: torch.save(model.state_dict(), FILE), or better as .safetensors",
        ) from error
    except _UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
        raise DlkitError(f"cannot read the weights {path}: {reason}", "is the file whole?") from error


def _is_state(value: Any) -> bool:
    """Whether a value saved by a training script maps names to tensors, which the state of an optimizer does not."""
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(name, str) and isinstance(item, Tensor) for name, item in value.items())
