"""The files of a Hugging Face directory: its JSON, and the tensors of its *.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError
from dlkit.text_input import ordinary_file, read_json_mapping


def read_json(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises DlkitError if it is missing or cannot be read."""
    return read_json_mapping(file, "is the download whole?")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the shards that its index lists.

    Raises:
        DlkitError: a file is missing or damaged, or a tensor is not in its shard.
    """
    single, index = path / "model.safetensors", path / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        found = _read(single)
    else:
        shard_of = read_json(index).get("weight_map")
        if not is_mapping(shard_of) or not all(isinstance(name, str) for name in shard_of.values()):
            raise DlkitError(f"{index} has no weight_map from tensors to files", "is the download whole?")
        if strange := [name for name in shard_of.values() if Path(name).name != name]:
            raise DlkitError(f"{index} names a file outside of {path}: {strange[0]}")
        shards = {name: _read(path / name) for name in sorted(set(shard_of.values()))}
        if lost := [name for name, shard in shard_of.items() if name not in shards[shard]]:
            raise DlkitError(f"{path / shard_of[lost[0]]} lacks {', '.join(lost[:5])}, which {index.name} puts there")
        found = {name: shards[shard][name] for name, shard in shard_of.items()}
    return found


def _read(file: Path) -> dict[str, Tensor]:
    if not file.exists():
        old = sorted(other.name for other in file.parent.glob("*.bin"))
        why = f"; {old[0]} is a pickle, which dlkit does not open" if old else ""
        raise DlkitError(f"no such file: {file}{why}", "save the model with safe serialization")
    try:
        return load_file(ordinary_file(file))
    except (SafetensorError, OSError) as error:
        raise DlkitError(f"{file} is damaged: {error}") from error
