"""The formats of `dlkit export`. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from dlkit.errors import RequestError


@dataclass(frozen=True)
class ModelFormat:
    """One format.

    Args:
        writer: a function `(exportable, folder)` that writes the files of a model, as `module:name`.
        help: who reads them.
        packages: modules that the writer needs and dlkit does not.
    """

    writer: str
    help: str
    packages: tuple[str, ...] = ()


FORMATS = {
    "hf": ModelFormat("dlkit.export.huggingface:write_hub_directory", "a directory for transformers, or for timm"),
    "torchvision": ModelFormat("dlkit.export.torchvision_weights:write_state_dict", "a state dict for torchvision"),
    "onnx": ModelFormat(
        "dlkit.export.onnx_model:write_onnx",
        "a graph for ONNX Runtime",
        ("onnx", "onnxscript", "onnxruntime"),  # the extra dlkit[onnx]
    ),
    "torch-export": ModelFormat("dlkit.export.torch_program:write_program", "a graph for torch alone"),
}

# Every file that one of them may write. Any other file in a directory is the user's.
DESCRIPTION, CONFIG = "model.json", "config.json"
ONNX, PROGRAM, STATE_DICT, WEIGHTS = "model.onnx", "model.pt2", "model.pth", "model.safetensors"
FILES = (
    DESCRIPTION, ONNX, f"{ONNX}.data", PROGRAM, STATE_DICT, WEIGHTS, CONFIG, "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip


def require_packages(name: str) -> None:
    """Raise RequestError if a format needs a package that is not installed."""
    wanted = FORMATS[name]
    absent = [package for package in wanted.packages if find_spec(package) is None]
    if absent:
        raise RequestError(
            f"`format` {name} needs {', '.join(absent)}, which {'are' if len(absent) > 1 else 'is'} not installed",
            f"pip install {' '.join(absent)}",
        )
