"""The only place that turns a recipe into objects."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dlkit.assemble import images, weightless
from dlkit.assemble.components import parts
from dlkit.assemble.data import describe, evaluated_splits, load_data, require_split
from dlkit.assemble.language import LanguageData
from dlkit.data.dataset import Dataset
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.tasks.classification import Classification
from dlkit.train import autotune, last_batch, memory_estimate, rng
from dlkit.train.device import choose_kernels
from dlkit.train.interfaces import BatchSource, Task
from dlkit.train.precision import set_matmul_precision
from dlkit.train.settings import TestViews, TrainSettings
from dlkit.train.training import Training


@dataclass
class Built:
    """A recipe as objects. `recipe` has its `auto` settings replaced by what was decided."""

    recipe: Recipe
    dataset: Dataset | LanguageData
    training: Training
    remarks: list[str]  # what of the pre-trained weights was not taken as it was

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.training.model.parameters())


def training(
    recipe: Recipe,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    dataset: Dataset | LanguageData | None = None,
) -> Built:
    """Everything that a training run needs, on the device, with every `auto` decided. Without a data set, loads it."""
    values = recipe.values
    settings = TrainSettings(**values["train"])
    if settings.flush_denormal:
        torch.set_flush_denormal(True)
    dataset = dataset or load_data(recipe)
    weightless.require(functools.partial(architecture, recipe, dataset))
    rng.seed_everything(values["seed"])
    model = build_model(recipe, dataset)
    remarks = dataset.remarks if isinstance(dataset, LanguageData) else images.prepare(model, recipe, dataset)
    model = model.to(device)
    settings = autotune.choose_layout(settings, model, device)
    if settings.compile == "auto" and recipe.values["task"] == "text-classification":
        settings = dataclasses.replace(settings, compile="off")  # each length would be compiled anew
    channels_last = settings.channels_last == "on"
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    batches = split_batches(recipe, dataset, "train", device, True, channels_last)
    # images that grow would have every convolution tried anew for each size
    choose_kernels(settings.deterministic, benchmark=not getattr(batches, "grow_epochs", 0))
    names = evaluated_splits(dataset)[:1]
    evaluations: dict[str, BatchSource] = {
        name: split_batches(recipe, dataset, name, device, False, channels_last) for name in names
    }
    if settings.patience is not None and "val" not in evaluations:
        raise RequestError(
            f"train.patience needs validation data, and {dataset.name} has none; the test split is not for choosing by",
            "hold some out: data.validation=0.1",
        )
    task = build_task(recipe, dataset)
    (optimizer, optimizer_keys), [(grouping, grouping_keys), *divisions] = parts("optimizer", values["optimizer"])
    groups = grouping(model, **grouping_keys)
    for divide, keys in divisions:
        groups = divide(model, groups, **keys)
    (schedule, schedule_keys), _ = parts("schedule", values["schedule"])
    # settle needs the length of the run, which a Training knows
    job = Training(
        model=model,
        task=task,
        optimizer=optimizer(groups, **optimizer_keys),
        schedule=functools.partial(schedule, **schedule_keys),
        batches=batches,
        evaluations=evaluations,
        settings=settings,
        device=device,
        should_stop=should_stop,
        monitored="val" if "val" in evaluations else None,
        description=describe(dataset),
    )
    job.schedule(0, job.total_steps)  # which refuses a warm-up that does not fit
    memory_estimate.require_step_fits(job)
    batch = next(iter(batches.epoch(0)))
    last_batch.require_usable_last_batch(job, batch)
    job.settings = autotune.resolve_auto(settings, model, task, batch, device, job.total_steps)
    set_matmul_precision(job.settings.precision)
    decided = {**values, "train": {**values["train"], **{k: getattr(job.settings, k) for k in autotune.DECIDED}}}
    if settings.precision not in ("auto", job.settings.precision):
        remarks = [*remarks, f"train.precision is {job.settings.precision}: {device} has no {settings.precision}"]
    if isinstance(dataset, LanguageData):
        remarks = [*remarks, *(f"{measure} is left out: {why}" for measure, why in dataset.left_out.items())]
    return Built(Recipe(recipe.name, recipe.path, decided), dataset, job, remarks)


def build_model(recipe: Recipe, dataset: Dataset | LanguageData) -> nn.Module:
    """The recipe's model, with the weights that it begins with."""
    return dataset.model(recipe) if isinstance(dataset, LanguageData) else architecture(recipe, dataset)


def architecture(recipe: Recipe, dataset: Dataset | LanguageData) -> nn.Module:
    """The recipe's model with random weights."""
    if isinstance(dataset, LanguageData):
        return dataset.untrained(recipe)
    (constructor, keys), _ = parts("model", recipe.values["model"])
    return constructor(dataset.input_shape, len(dataset.classes), **keys)


def build_task(recipe: Recipe, dataset: Dataset | LanguageData, views: TestViews | None = None) -> Task:
    (loss, keys), _ = parts("loss", recipe.values["loss"])
    views = views or TrainSettings(**recipe.values["train"]).test_views
    if views != "one" and (isinstance(dataset, LanguageData) or len(dataset.input_shape) != 3):
        raise RequestError(f"test_views: {views} needs images, {dataset.name} has none", "set train.test_views=one")
    if isinstance(dataset, LanguageData):
        return dataset.objective(loss(**keys))
    return Classification(loss(**keys), dataset.classes, views)


def split_batches(
    recipe: Recipe,
    dataset: Dataset | LanguageData,
    split: str,
    device: torch.device,
    training: bool,
    channels_last: bool = False,
) -> BatchSource:
    """Batches of one split. Raises RequestError if the data set has no such split."""
    require_split(dataset, split)
    if isinstance(dataset, LanguageData):
        return dataset.batches(recipe, split, device, training)
    return images.batches(recipe, dataset, split, device, training, channels_last)
