"""Tensors that are divided among ranks, in files: each rank writes its parts, by torch.distributed.checkpoint.

The files are safetensors, in whose header each part says where in the whole it begins. No pickle is written or read.
They are joined again without a process group, so that one process, or any other number, takes up what many wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

_OFFSETS = "DCP_SHARDING_INFO"  # torch's name for it in a header


def save_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the parts of all ranks into a folder that they share, a file or more for each rank. Every rank calls it."""
    import torch.distributed.checkpoint as distributed_checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    distributed_checkpoint.save(dict(tensors), storage_writer=writer)


def join_parts(files: Iterable[bytes]) -> dict[str, Tensor]:
    """The whole tensors, from the contents of all files of a folder."""
    parts: dict[str, list[tuple[list[int], Tensor]]] = {}
    for content in files:
        length = int.from_bytes(content[:8], "little")  # of the header, behind these eight bytes
        begins: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_OFFSETS])
        for name, part in load_tensors(content).items():
            parts.setdefault(name, []).append((begins[name]["saved_offsets"], part))
    return {name: _joined_parts(parts[name]) for name in sorted(parts)}


def _joined_parts(parts: list[tuple[list[int], Tensor]]) -> Tensor:
    # a tensor ends where the last of its parts does
    ends = [[begin + size for begin, size in zip(begins, part.shape, strict=True)] for begins, part in parts]
    whole = torch.empty([max(along) for along in zip(*ends, strict=True)], dtype=parts[0][1].dtype)
    for (begins, part), end in zip(parts, ends, strict=True):
        whole[tuple(slice(*sides) for sides in zip(begins, end, strict=True))] = part
    return whole
