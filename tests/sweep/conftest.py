"""The race that the tests of engines run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dlkit import recipe
from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.doctor.checks.stacks import stackable_optimizers
from dlkit.sweep.trials import Trial
from dlkit.training.loop import Training

OPTIMIZERS = list(stackable_optimizers())
SETTINGS = [
    "data.validation=0.1",
    "train.epochs=null",
    "train.steps=12",
    "train.eval_every=4 steps",
    "train.log_every=4",
    "train.precision=fp32",
    "train.compile=off",
    "train.channels_last=off",
]


class DoubleComparison(OptimizerComparison):
    """In float64, where no rounding grows into a difference: RMSProp's first steps follow the sign of a gradient."""

    def training(self, trial: Trial) -> Training:
        training = super().training(trial)
        training.model.double()
        for batches in (training.batches, *training.evaluations.values()):
            batches._inputs = batches._inputs.double()  # pyright: ignore[reportAttributeAccessIssue]
        return training


def race_of(*changes: str, optimizers: list[str] = OPTIMIZERS) -> OptimizerComparison:
    recipes = {
        name: recipe.load("digits-mlp", [f"optimizer={{name: {name}}}", *SETTINGS, *changes]) for name in optimizers
    }
    return DoubleComparison(recipes, torch.device("cpu"))


@pytest.fixture
def comparison() -> Callable[..., OptimizerComparison]:
    """comparison("model.dropout=0.3", optimizers=["sgd"]): of digits-mlp, so changed, in float64."""
    return race_of
