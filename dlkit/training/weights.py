"""State dicts as they are saved: each tied tensor once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlkit.distributed.tensor_parts import divided_like, local_part
from dlkit.errors import DlkitError


def drop_tied_duplicates(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each tied one under its first name only, as a safetensors file needs it."""
    seen: set[tuple[int, torch.Size]] = set()
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        identity = (local_part(value).data_ptr(), value.shape)
        if value.numel() == 0 or identity not in seen:
            result[name] = value
        seen.add(identity)
    return result


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load a state dict that may hold tied tensors once. Raises DlkitError naming what does not fit."""
    own = model.state_dict()
    expected = drop_tied_duplicates(own)
    problems = [f"missing {name}" for name in expected.keys() - weights.keys()]
    problems += [f"surplus {name}" for name in weights.keys() - own.keys()]
    for name in own.keys() & weights.keys():
        if own[name].shape != weights[name].shape:
            problems.append(f"{name} is {tuple(weights[name].shape)}, the model wants {tuple(own[name].shape)}")
    if problems:
        shown = "; ".join(sorted(problems)[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DlkitError(f"the weights do not fit the model: {shown}", "is it a checkpoint of another model?")
    model.load_state_dict({name: divided_like(value, own[name]) for name, value in weights.items()}, strict=False)
