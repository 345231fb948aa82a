"""A task is a file and a line of the catalog: this file is one, and trains from a recipe without any other change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit import catalog, recipe
from dlkit.assemble import assemble_training
from dlkit.catalog_entry import TaskEntry
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.tasks.array_data import ArrayData
from dlkit.tasks.task_data import read_component
from dlkit.training.events import Finished
from dlkit.training.loop import fit
from dlkit.training.settings import TestViews
from dlkit.vectorized.stackable import why_not_stackable

CPU = torch.device("cpu")


def brightness_data(loaded: Recipe, saved: dict[str, Any] | None) -> BrightnessData:
    return BrightnessData(read_component(loaded, None))


class BrightnessData(ArrayData):
    """Images, of which a single number is predicted."""

    def untrained_model(self, recipe: Recipe) -> nn.Module:
        (constructor, keys), _ = components("model", recipe.values["model"])
        return constructor(self.input_shape, 1, **keys)

    def objective(self, loss: nn.Module, views: TestViews = "one") -> Any:
        return Brightness()


class Brightness:
    """The mean of an image's pixels, learned by the squared error and measured by the absolute one."""

    unit = "images"
    main_metric = "error"

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
        return F.mse_loss(model(batch.inputs)[:, 0], batch.inputs.flatten(1).mean(1)), None

    def meter(self, device: torch.device) -> BrightnessMeter:
        return BrightnessMeter()


class BrightnessMeter:
    def __init__(self) -> None:
        self.errors: list[Tensor] = []

    @property
    def samples(self) -> int:
        return sum(map(len, self.errors))

    def update(self, model: nn.Module, batch: Any) -> None:
        self.errors.append((model(batch.inputs)[:, 0] - batch.inputs.flatten(1).mean(1)).abs())

    def metrics(self) -> dict[str, float]:
        error = torch.cat(self.errors).mean().item()
        return {"loss": error, "error": error}

    def confusion_matrix(self) -> None:
        return None


def test_a_task_is_a_file_and_a_line_of_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = TaskEntry(f"{__name__}:brightness_data", "how bright an image is", "images")
    monkeypatch.setitem(catalog.TASKS, "brightness", entry)
    loaded = recipe.load("digits-mlp", ["train.epochs=3"])
    loaded.values["task"] = "brightness"
    found = assemble_training(loaded, CPU)
    assert why_not_stackable(found.training) == "its task gives no logits"  # so a race trains its runs one by one
    (end,) = (event for event in fit(found.training) if isinstance(event, Finished))
    targets = found.dataset.batches(loaded, "test", CPU, training=False)
    brightness = torch.cat([batch.inputs.flatten(1).mean(1) for batch in targets.epoch(0)])
    constant = (brightness - brightness.mean()).abs().mean().item()  # of the best answer that looks at no image
    assert end.metrics["test/error"] < 0.7 * constant
    assert found.dataset.extent("test")["rows"] == f"{len(brightness)} of 1797"
