"""The system as dlkit sees it: versions, device, threads, precision, data folder, missing packages."""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from dlkit import memory
from dlkit.data import store
from dlkit.data.data_folder import data_folder
from dlkit.data.registry import DATASETS
from dlkit.guarded_import import distribution_name, package_to_install
from dlkit.training import autotune, environment
from dlkit.training.precision import reduced_precision

# Optional packages: module -> the feature that needs it.
PACKAGES = {
    "torchvision": "streamed images and their augmentation",
    "tokenizers": "models of text",
    "huggingface_hub": "download",
    "datasets": "data.name=hub",
    "pyarrow": "Parquet files",
    "sklearn": "the embedded digits",
    "scipy": "intervals of comparisons",
    "matplotlib": "figures",
    "constriction": "compress, decompress and codes",
    "zstandard": "the zstd codec of entropy --codecs",
    "filelock": "downloads beside each other",
    "tensorboard": "train.tensorboard",
    "onnx": "export --format onnx",
    "onnxscript": "export --format onnx",
    "onnxruntime": "export --format onnx",
}
_DRIVER = Path("/proc/driver/nvidia/version")


def describe_system(device: torch.device) -> dict[str, Any]:
    """The `machine` record."""
    known = environment.describe_environment(device, {})
    folder = data_folder()
    reduced = reduced_precision(device)
    return {
        "kind": "machine",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{name: value for name, value in known.items() if name not in ("command", "data")},
        "packages": known["packages"] | _other_packages(),
        "devices": ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *_metal()],
        **_gpu(device),
        "memory_free_bytes": memory.free_memory(str(device)),
        "precision": reduced or "fp32",
        "compiles": autotune.can_compile(device),
        "data_dir": str(folder),
        "disk_free_bytes": shutil.disk_usage(_existing(folder)).free,
        "data_sets": [name for name in DATASETS if store.find_manifest(name) is not None],
        "here": str(Path.cwd()),
        "here_free_bytes": shutil.disk_usage(Path.cwd()).free,
        "absent": {package_to_install(name): use for name, use in PACKAGES.items() if find_spec(name) is None},
    }


def _other_packages() -> dict[str, str]:
    """Versions of what is installed of the packages that a feature needs."""
    found: dict[str, str] = {}
    for module in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            name = distribution_name(module)
            found[name] = version(name)
    return found


def _metal() -> list[str]:
    return ["mps"] if torch.backends.mps.is_available() else []


def _gpu(device: torch.device) -> dict[str, Any]:
    """The GPU, its driver and the libraries that torch was built with; empty on a CPU."""
    if device.type != "cuda":
        return {}
    card = torch.cuda.get_device_properties(device)
    return {
        "devices": torch.cuda.device_count(),
        "gpu_memory_bytes": card.total_memory,
        "gpu_multiprocessors": card.multi_processor_count,
        "compute_capability": f"{card.major}.{card.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _driver() -> str | None:
    """The version of NVIDIA's driver, from the kernel or else from nvidia-smi."""
    try:
        found = re.search(r"Kernel Module\D+(\d+(?:\.\d+)+)", _DRIVER.read_text(encoding="utf-8"))
        if found:
            return found[1]
    except OSError:
        pass
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.split("\n")[0].strip() or None


def _existing(path: Path) -> Path:
    """The folder, or its nearest existing ancestor."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
