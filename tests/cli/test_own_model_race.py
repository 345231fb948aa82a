"""A race of a model that cannot be trained many at once: run by run, to the numbers of plain torch."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.sweep.engines import engine_choice

CODE = '''
import numpy
import torch
from torch import nn

from dlkit.annotations import Positive
from dlkit.optim.base import Optimizer
from dlkit.data.dataset import Split, make_dataset


def rings():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 2, generator=generator)
    targets = (points.norm(dim=1) > 1.2).long()
    return make_dataset("rings", {"train": Split(points[:40], targets[:40]), "test": Split(points[40:], targets[40:])},
                        ("inside", "outside"))


class Linear(nn.Module):
    """Its weights begin the same whatever the seed, so that a twin of plain torch is soon written."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 4).view(2, 2))

    def forward(self, x):
        return (x * x) @ self.weight


class Branches(Linear):
    def forward(self, x):
        logits = super().forward(x)
        return 2 * logits if logits[:, 1].sum() > 0 else logits


class Item(Linear):
    def forward(self, x):
        return super().forward(x) * (1 + abs(self.weight[0, 0].item()))


class InPlace(Linear):
    def forward(self, x):
        logits = torch.zeros(len(x), 2)
        logits[:, 0] = (x * x) @ self.weight[:, 0]
        logits[:, 1] = (x * x) @ self.weight[:, 1]
        return logits


class OwnGenerator(Linear):
    """Draws what no state of torch's own generator shows."""

    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.dice = torch.Generator().manual_seed(torch.initial_seed() % 1000)

    def forward(self, x):
        return super().forward(x + 0.5 * torch.randn(x.shape, generator=self.dice))


class Constants(Linear):
    """Keeps what is different from seed to seed outside of its parameters and buffers."""

    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self.directions = [torch.randn(2, 2)]

    def forward(self, x):
        return super().forward(x @ self.directions[0])


class Noise(Linear):
    """Draws from numpy's generator."""

    def forward(self, x):
        return super().forward(x + torch.tensor(numpy.random.standard_normal(x.shape), dtype=x.dtype))


class Normed(Optimizer):
    """Takes a parameter as a whole, and says otherwise."""

    elementwise = True

    def __init__(self, params, *, lr: Positive = 1e-3):
        super().__init__(params, {"lr": lr, "weight_decay": 0.0, "maximize": False})

    def update(self, parameter, gradient, state, group):
        parameter.sub_(group["lr"] * gradient / gradient.norm())
'''
RECIPE = """
task: tabular-classification
data: {name: mine.py:rings, batch_size: 40}
model: {name: mine.py:Linear}
optimizer: {name: sgd, lr: 0.1}
train: {steps: 6, precision: fp32, compile: off}
"""
STEPS = 6
Forward = Callable[[Tensor, Tensor], Tensor]


def linear(weight: Tensor, x: Tensor) -> Tensor:
    return (x * x) @ weight


def branches(weight: Tensor, x: Tensor) -> Tensor:
    logits = linear(weight, x)
    return 2 * logits if logits[:, 1].sum() > 0 else logits


def item(weight: Tensor, x: Tensor) -> Tensor:
    return linear(weight, x) * (1 + abs(weight[0, 0].item()))


def final_losses(forward: Forward, lr: float, momentum: float) -> tuple[float, float]:
    """The loss of the last step, and then of the test set, by torch alone."""
    points = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    targets = (points.norm(dim=1) > 1.2).long()
    points = (points - points[:40].mean(0)) / points[:40].std(0, correction=0)
    weight = torch.linspace(-1, 1, 4).view(2, 2).requires_grad_()
    optimizer = torch.optim.SGD([weight], lr, momentum=momentum)
    loss = torch.tensor(0.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(weight, points[:40]), targets[:40])
        loss.backward()
        optimizer.step()
    return loss.item(), F.cross_entropy(forward(weight, points[40:]), targets[40:]).item()


@pytest.fixture
def race(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """race("Branches", "auto"): its result. Engines are compared however short the race is."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE)
    Path("own.yaml").write_text(RECIPE)
    monkeypatch.setattr(engine_choice, "fastest_engine", functools.partial(engine_choice.fastest_engine, shortest=0))
    monkeypatch.setattr("dlkit.app.recipe_race.usable_cores", lambda: 1)  # no worker processes, which take seconds

    def run(model: str, engine: str = "auto", *more: str) -> Any:
        options = ["--optimizers", "sgd,momentum", "--lr", "0.05,0.5", "--seeds", "2", "--steps", str(STEPS)]
        change = f"model.name=./mine.py:{model}"
        return here("compare-optimizers", "own.yaml", change, "--trust", *options, "--engine", engine, *more)

    return run


def assert_as_in_torch(records: list[dict[str, Any]], forward: Forward, tolerance: float) -> None:
    runs = [record for record in records if record["kind"] == "run"]
    assert len(runs) == 8
    for record in runs:
        train, test = final_losses(forward, record["lr"], 0.9 if record["optimizer"] == "momentum" else 0.0)
        assert record["metrics"]["test/loss"] == pytest.approx(test, rel=tolerance)
        if record["loss"] is not None:
            assert record["loss"] == pytest.approx(train, rel=tolerance)


@pytest.mark.parametrize(
    ("model", "forward", "why"),
    [
        ("Branches", branches, "data-dependent control flow"),
        ("Item", item, ".item()"),
        ("InPlace", linear, "inplace"),
    ],
)
def test_a_model_that_cannot_be_mapped_runs_alone_as_in_torch(
    race: Callable[..., Any], model: str, forward: Forward, why: str
) -> None:
    done = race(model, "auto", "--allow-edge")
    assert done.code == 0, done.err
    (said,) = (line for line in done.err.splitlines() if "not stacked" in line)
    assert "code of your own does not run on many models at once" in said
    assert why in said
    assert_as_in_torch(done.records, forward, 1e-5)


def test_the_folder_of_a_race_holds_why_it_was_not_stacked(race: Callable[..., Any]) -> None:
    """And goes on with it."""
    assert race("Branches", "auto", "--out", "race", "--allow-edge").code == 0
    made = json.loads(Path("race/race.json").read_text())
    assert made["engine"] == "loop"
    assert "data-dependent control flow" in made["not_stacked"]
    lines = Path("race/runs.jsonl").read_text().splitlines(keepends=True)
    Path("race/runs.jsonl").write_text("".join(lines[:-2]))
    assert race("Branches", "auto", "--out", "race", "--allow-edge", "--resume").code == 0
    assert json.loads(Path("race/race.json").read_text())["not_stacked"] == made["not_stacked"]


@pytest.mark.parametrize(
    ("model", "optimizers", "why"),
    [
        ("Branches", "sgd", "data-dependent control flow"),
        ("OwnGenerator", "sgd", "random operation"),
        ("Constants", "sgd", "trains otherwise on many models at once"),
        ("Noise", "sgd", "trains otherwise on many models at once"),
        ("Linear", "sgd,mine.py:Normed", "trains otherwise on many models at once"),
    ],
)
def test_stacks_that_were_asked_for_are_refused_in_a_line(
    race: Callable[..., Any], model: str, optimizers: str, why: str
) -> None:
    """Also where nothing fails but the numbers are not those of lone runs."""
    refused = race(model, "stacked", "--optimizers", optimizers)
    assert refused.code == 2
    error, hint = refused.err.splitlines()[-2:]
    assert error.startswith("error: --engine stacked: code of your own")
    assert why in error
    assert hint == "hint: use --engine workers or loop"


def test_a_model_that_can_be_mapped_is_stacked(race: Callable[..., Any]) -> None:
    done = race("Linear", "stacked", "--allow-edge")
    assert done.code == 0, done.err
    assert "stacks of" in done.err
    assert_as_in_torch(done.records, linear, 1e-5)
