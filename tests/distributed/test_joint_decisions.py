"""Ranks stop, give up and skip together, whichever of them has the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.data.dataset import Split
from dlkit.data.row_batches import RowBatches
from dlkit.distributed.joint_flag import JointFlag
from dlkit.distributed.process_group import World, current_world
from dlkit.errors import DivergedError
from dlkit.losses import CrossEntropy
from dlkit.models.mlp import MLPClassifier
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification
from dlkit.training.events import Event, Finished
from dlkit.training.loop import fit
from dlkit.training.settings import TrainSettings
from dlkit.training.training import Training

CPU = torch.device("cpu")
LAST = 1  # the rank that has the reason


def training(world: World, **settings: Any) -> Training:
    """A small run: 40 rows in batches of 8, of which each of two ranks has 4."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    split = Split(rows, torch.randint(3, (40,), generator=generator))
    plain = (torch.zeros(5).double(), torch.ones(5).double(), CPU, 0)
    batches = RowBatches(split, *plain, True, batch_size=8)
    if world.size > 1:
        batches.shard(world)
    torch.manual_seed(0)
    model = MLPClassifier((5,), 3, hidden=(4,))
    options = {"steps": 20, "log_every": 1, "precision": "fp32", "compile": "off", "channels_last": "off", **settings}
    return Training(
        model=model,
        task=Classification(CrossEntropy(), ("a", "b", "c")),
        optimizer=Momentum(model.parameters(), lr=0.1),
        schedule=lambda step, total: 1.0,
        batches=batches,
        evaluations={"val": RowBatches(split, *plain, False, batch_size=8)},
        settings=TrainSettings(**options),
        device=CPU,
        monitored="val",
        world=world,
    )


def spoil(run: Training, step: int, rank: int) -> None:
    """Make the loss of one step infinite, on one rank."""
    forward, calls = run.task.forward, [0]

    def spoilt(model: Any, batch: Any) -> tuple[Tensor, Tensor | None]:
        loss, right = forward(model, batch)
        if model.training:
            calls[0] += 1
        return (loss * torch.inf if calls[0] == step and run.world.rank == rank and model.training else loss), right

    run.task.forward = spoilt  # pyright: ignore[reportAttributeAccessIssue]


def ended(run: Training) -> tuple[int, str, int, list[float]]:
    """The last step, why it is the last, how many were left out, and the weights."""
    events: list[Event] = list(fit(run))
    last = events[-1]
    assert isinstance(last, Finished)
    return last.step, last.reason, last.skipped, torch.cat([p.flatten() for p in run.model.parameters()]).tolist()


def decisions(world: World | None = None) -> dict[str, Any]:
    world = world or current_world()
    found: dict[str, Any] = {}
    rank = LAST if world.size > 1 else 0

    skips = training(world, on_nan="skip", eval_every="never")
    spoil(skips, 4, rank)
    found["skip"] = ended(skips)

    stops = training(world, eval_every="never")
    spoil(stops, 4, rank)
    with pytest.raises(DivergedError) as diverged:
        list(fit(stops))
    found["nan"] = diverged.value.message

    # a rate at which the loss rises from the first evaluation on
    patient = training(world, patience=2, eval_every="1 steps", monitor="loss")
    patient.optimizer.param_groups[0]["lr"] = 5.0
    found["patience"] = ended(patient)

    asked = training(world, eval_every="never")
    steps = [0]

    def should_stop() -> bool:
        steps[0] += 1
        return steps[0] == 5 and world.rank == rank

    asked.should_stop = should_stop
    found["stop"] = ended(asked)

    flag = JointFlag(world)
    answers = [flag.ask(step == 2 and world.rank == rank) for step in range(4)]
    found["flag"] = [*answers, flag.settle()]
    return found


@pytest.mark.distributed
def test_a_reason_of_one_rank_is_one_of_all(in_two_processes: Callable[..., list[Any]]) -> None:
    alone = decisions(World())
    first, second = in_two_processes(decisions)
    assert first == second
    assert alone["flag"] == [False, False, True, False, False]
    assert first["flag"] == [False, False, False, True, False]  # a step later, when the answer is there
    step, reason, skipped, weights = first["skip"]
    assert (step, reason, skipped) == alone["skip"][:3] == (20, "done", 1)
    assert weights == pytest.approx(alone["skip"][3], rel=1e-4, abs=1e-6)
    assert first["nan"] == alone["nan"] == "diverged: the training loss of step 4 is not finite"
    assert first["patience"][:3] == alone["patience"][:3]
    assert first["patience"][1] == "patience" and first["patience"][0] < 20
    assert alone["stop"][:2] == (5, "stopped")
    assert first["stop"][:2] == (6, "stopped")
