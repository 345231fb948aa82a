"""The states of the random generators of Python, NumPy, torch and the training device, saved and restored with a run.

The device's generator is saved by its role, not its index, so that a run can resume on another device. What is drawn
there (dropout, augmentation) is the same only on a device of the same kind.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlkit.distributed.process_group import World


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch (all its devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def get_states(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of all generators, as (tensors, JSON values)."""
    tensors = {"torch": torch.get_rng_state()}
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors["python"] = torch.tensor(numbers, dtype=torch.int64)
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    values = {
        "python": [version, gauss],
        "numpy": [str(kind), int(position), int(has_gauss), float(cached)],
        "device": _name(device),
    }
    if device.type != "cpu":
        tensors["device"] = device_state(device)
    return tensors, values


def set_states(tensors: dict[str, Tensor], values: dict[str, Any], device: torch.device) -> None:
    """Restore what `get_states` returned; a device of another kind is seeded by a hash of the CPU's state."""
    version, gauss = values["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    kind, position, has_gauss, cached = values["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    if device.type == "cpu":
        return
    state = tensors.get("device")
    if state is None:  # earlier versions saved those of all CUDA devices, by index
        state = tensors.get(f"cuda.{device.index or 0}", tensors.get("cuda.0"))
    if state is not None and values.get("device", "cuda").partition(":")[0] == device.type:
        set_device_state(device, state)
    else:
        seed = hashlib.sha256(tensors["torch"].numpy().tobytes()).digest()
        _generator_of(device).manual_seed(int.from_bytes(seed[:6], "little"))


def gather_states(device: torch.device, world: World) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states of all generators of every rank: those of rank r > 0 are called `rank<r>.<name>`, and in `ranks`."""
    tensors, values = get_states(device)
    others = world.gather_objects((tensors, values))[1:]
    named = {f"rank{r}.{name}": value for r, (held, _) in enumerate(others, 1) for name, value in held.items()}
    return tensors | named, values | ({"ranks": [value for _, value in others]} if others else {})


def scatter_states(tensors: dict[str, Tensor], values: dict[str, Any], device: torch.device, world: World) -> None:
    """Restore the states that `gather_states` returned, on each rank its own.

    If the number of ranks has changed, rank 0 restores its state, and every other rank is reseeded.
    """
    others: list[dict[str, Any]] = values.get("ranks", [])
    own = {name: value for name, value in tensors.items() if not name.startswith("rank")}
    if world.first or len(others) + 1 != world.size:
        set_states(own, values, device)
        seed_rank(world, device)
        return
    prefix = f"rank{world.rank}."
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    set_states(own, others[world.rank - 1], device)


def seed_rank(world: World, device: torch.device) -> None:
    """Give every rank but the first random numbers of its own: dropout masks of its own rows, in place of rank 0's."""
    if world.first:
        return
    state = torch.get_rng_state().numpy().tobytes()
    seed = int.from_bytes(hashlib.sha256(state + str(world.rank).encode()).digest()[:6], "little")
    torch.manual_seed(seed)
    if device.type != "cpu":
        _generator_of(device).manual_seed(seed)


def note_of_move(values: dict[str, Any], device: torch.device) -> str | None:
    """What a user should know if the states come from another device than `device`; None if they do not."""
    before, here = str(values.get("device", _name(device))), _name(device)  # earlier versions did not record it
    if before == here:
        return None
    if before.partition(":")[0] == device.type:
        return f"this run was on {before} and goes on on {here}, with the same random numbers"
    return (
        f"this run was on {before} and goes on on {here}: what is drawn there (dropout, augmentation) and the last"
        " bits of sums are others"
    )


def device_state(device: torch.device) -> Tensor:
    """The state of a device's generator, as a tensor of bytes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_device_state(device: torch.device, state: Tensor) -> None:
    """Restore what `device_state` returned."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)


def _generator_of(device: torch.device) -> torch.Generator:
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    torch.cuda.init()  # which makes the generators
    return torch.cuda.default_generators[device.index or 0]


def _name(device: torch.device) -> str:
    """`cpu`, `cuda:0`: with the index that a device without one has."""
    return f"cuda:{device.index or 0}" if device.type == "cuda" else device.type
