"""Muon on a divided model: each matrix has one owner, which makes its step for all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from dlkit import recipe
from dlkit.assemble import assemble_training
from dlkit.distributed.process_group import current_world
from dlkit.distributed.tensor_parts import whole_on
from dlkit.optim.muon import Muon
from dlkit.training.events import Finished
from dlkit.training.loop import fit

pytestmark = pytest.mark.distributed
STEPS = 3


def matrices_stepped() -> int:
    """How many matrices this rank made orthogonal steps of."""
    stepped = 0
    plain = Muon.advance

    def counted(self: Muon, parameters: Any, gradients: Any, states: Any, group: Any) -> None:
        nonlocal stepped
        stepped += sum("momentum_buffer" in state for state in states)
        plain(self, parameters, gradients, states, group)

    Muon.advance = counted  # pyright: ignore[reportAttributeAccessIssue]
    changes = ["model.hidden=[16, 16, 16, 16]", "optimizer={name: muon, lr: 0.02}", "train.parallel=fsdp",
               "train.epochs=null", f"train.steps={STEPS}"]  # fmt: skip
    world = current_world()
    built = assemble_training(recipe.load("digits-mlp", changes), torch.device("cpu"), world=world)
    assert isinstance([*fit(built.training)][-1], Finished)
    return stepped


def gathered() -> list[bool]:
    """Whether a tensor is whole on its owner alone, as torch's `full_tensor` has it, however unevenly it is divided."""
    world = current_world()
    mesh = init_device_mesh("cpu", (world.size,))
    found: list[bool] = []
    for shape in ((5, 3), (4, 2), (1, 7), (3,), (3, 2, 2, 2)):
        for owner in range(world.size):
            divided = distribute_tensor(torch.randn(shape, generator=torch.manual_seed(0)), mesh, [Shard(0)])
            whole = whole_on(owner, divided)
            assert whole.shape == divided.shape
            if world.rank == owner:
                found.append(torch.equal(whole, divided.full_tensor()))
            else:
                divided.full_tensor()
    return found


def both() -> tuple[int, list[bool]]:
    return matrices_stepped(), gathered()


def test_each_matrix_has_one_owner(in_two_processes: Callable[..., list[Any]]) -> None:
    # five matrices at each step: two turns of two, and one of one
    (first, whole), (second, other) = in_two_processes(both)
    assert (first, second) == (3 * STEPS, 2 * STEPS)
    assert whole == other == [True] * 5
