"""Muon on a divided model: each matrix has one owner, which makes its step for all ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dlkit import recipe
from dlkit.assemble import assemble_training
from dlkit.distributed.process_group import current_world
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


def test_each_matrix_has_one_owner(in_two_processes: Callable[..., list[Any]]) -> None:
    # five matrices at each step: two turns of two, and one of one
    assert in_two_processes(matrices_stepped) == [3 * STEPS, 2 * STEPS]
