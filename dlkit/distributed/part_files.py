"""Files of sharded tensors: each rank writes its shards, by torch.distributed.checkpoint.

The files are safetensors, whose headers give the offset of each shard. No pickle is written or read. Joining them needs
no process group, so any number of processes can resume from them.
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
    """Write the shards of all ranks into a shared folder, at least one file per rank. Every rank calls it."""
    import torch.distributed.checkpoint as distributed_checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    distributed_checkpoint.save(dict(tensors), storage_writer=writer)


def join_parts(files: Iterable[bytes]) -> dict[str, Tensor]:
    """The whole tensors, from the contents of all files of a folder."""
    parts: dict[str, list[tuple[list[int], Tensor]]] = {}
    for content in files:
        length = int.from_bytes(content[:8], "little")  # of the header, which follows these eight bytes
        begins: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_OFFSETS])
        for name, part in load_tensors(content).items():
            parts.setdefault(name, []).append((begins[name]["saved_offsets"], part))
    return {name: _joined_parts(parts[name]) for name in sorted(parts)}


def _joined_parts(parts: list[tuple[list[int], Tensor]]) -> Tensor:
    # a tensor ends where its last shard ends
    ends = [[begin + size for begin, size in zip(begins, part.shape, strict=True)] for begins, part in parts]
    whole = torch.empty([max(along) for along in zip(*ends, strict=True)], dtype=parts[0][1].dtype)
    for (begins, part), end in zip(parts, ends, strict=True):
        whole[tuple(slice(*sides) for sides in zip(begins, end, strict=True))] = part
    return whole
