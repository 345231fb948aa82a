"""A trained model, opened with the data of its recipe, and what an evaluation of it finds."""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dlkit.assemble import build_task, untrained_model
from dlkit.distributed.process_group import current_world
from dlkit.finite import require_finite_metrics
from dlkit.metrics.classification import per_class_scores
from dlkit.pretrained.run import read_checkpoint
from dlkit.pretrained.weights import Weights
from dlkit.recipe import Recipe
from dlkit.tasks.task_data import TaskData, load_data
from dlkit.training.device import choose_kernels
from dlkit.training.evaluate import evaluate_split
from dlkit.training.precision import autocast, set_matmul_precision, supported_precision
from dlkit.training.settings import TestViews, TrainSettings
from dlkit.training.weights import load_weights
from dlkit.user_code import require_unchanged

if TYPE_CHECKING:
    from dlkit.app.ood import OODEvaluation


@dataclass
class Trained:
    """A model with the weights of a checkpoint, and the data of its recipe, treated as in training."""

    model: nn.Module
    dataset: TaskData
    settings: TrainSettings
    step: int


def open_trained(recipe: Recipe, checkpoint_path: Path, device: torch.device, whole: bool = False) -> Trained:
    """Load a checkpoint (its moving average, if it has one) for evaluation on the recipe's data.

    Args:
        recipe: of the run, perhaps with other data.
        checkpoint_path: the checkpoint.
        device: for the model.
        whole: whether nothing is held out of the data, as `measured_data.measured` decides.

    Raises:
        DlkitError: the checkpoint is damaged or not finite, or the data is missing, broken or of other classes.
    """
    saved = read_checkpoint(checkpoint_path)
    require_unchanged(recipe.own_code, saved.description.get("code"))
    return ready_model(recipe, saved, load_data(recipe, saved.description, whole), device)


def ready_model(recipe: Recipe, saved: Weights, dataset: TaskData, device: torch.device) -> Trained:
    """The recipe's model with these weights, on the device, in the precision and layout of the run.

    Raises DlkitError if the weights are not of this model.
    """
    assert saved.step is not None
    model = untrained_model(recipe, dataset)
    load_weights(model, dataset.arranged(saved.tensors))
    model = model.to(device)
    settings = TrainSettings(**recipe.values["train"])
    settings = dataclasses.replace(settings, precision=supported_precision(settings.precision, device))
    set_matmul_precision(settings.precision)
    choose_kernels(settings.deterministic, benchmark=False)  # the same answer, whenever it is asked
    if settings.channels_last == "on":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Trained(model, dataset, settings, saved.step)


@dataclass
class Evaluation:
    """What an evaluation found: shares of 1, losses in nats; `confusion` is (K, K) counts or None.

    `damaged` images were left out, as `dlkit.data.images.streaming` does: name -> why. `extent` is what was measured of
    which file, as fields of a record. `ood` has each set of out-of-distribution data that was asked for.
    """

    split: str
    samples: int
    metrics: dict[str, float]
    main_metric: str
    seconds: float
    step: int
    classes: tuple[str, ...]
    per_class: list[dict[str, Any]]
    confusion: Tensor | None
    damaged: dict[str, str]
    extent: dict[str, Any]
    left_out: dict[str, str] = dataclasses.field(default_factory=dict[str, str])  # measures: name -> why
    precision: str = "fp32"
    ood: list[OODEvaluation] = dataclasses.field(default_factory=list["OODEvaluation"])


def evaluate_trained(
    recipe: Recipe, found: Trained, split: str | None, device: torch.device, views: TestViews | None = None
) -> Evaluation:
    """Evaluate a trained model on a split of the recipe's data, by default `test`, or else `val`, or else `all`.

    Inputs are normalised as in training, whatever the data is now. `views` stands for the recipe's test_views.

    Raises:
        DlkitError: the data is broken.
        NotFiniteError: an answer or a metric is not a finite number.
        RequestError: there is no such split.
    """
    model, dataset, settings = found.model, found.dataset, found.settings
    channels_last = settings.channels_last == "on"
    split = split or dataset.default_split
    batches = dataset.batches(recipe, split, device, False, channels_last)
    task = build_task(recipe, dataset, views)
    meter = task.meter(device)
    started = time.perf_counter()
    precision = functools.partial(autocast, settings.precision, device)
    evaluate_split(model, batches, meter, precision, current_world())
    metrics, confusion = meter.metrics(), meter.confusion_matrix()
    require_finite_metrics(metrics)
    seconds = time.perf_counter() - started
    rows = per_class_scores(confusion, dataset.classes) if confusion is not None else []
    damaged = getattr(batches, "damaged", {})
    return Evaluation(
        split,
        meter.samples,
        metrics,
        task.main_metric,
        seconds,
        found.step,
        dataset.classes,
        rows,
        confusion,
        damaged,
        dataset.extent(split),
        dataset.left_out,
        settings.precision,
    )
