"""The only place that turns a recipe into objects."""

from __future__ import annotations

import collections
import dataclasses
import functools
import inspect
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.build import images, weightless
from dlkit.build.data import (
    default_split,
    describe,
    evaluated_splits,
    extent,
    load_data,
    require_split,
)
from dlkit.build.language import LanguageData
from dlkit.build.parts import parts
from dlkit.catalog import SECTIONS, resolve
from dlkit.compare import race
from dlkit.compare.runs import Contender, Outcome, Told
from dlkit.compare.surfaces import Surface
from dlkit.data.dataset import Dataset
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.train import checkpoint, footprint, last_batch, machine, plan, random_state
from dlkit.train.classification import Classification, per_class
from dlkit.train.evaluate import Batches, Task, evaluate, watched
from dlkit.train.finite import require_metrics, require_weights
from dlkit.train.settings import Settings, Views
from dlkit.train.training import Training, autocast
from dlkit.train.weights import load_weights


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
    settings = Settings(**values["train"])
    if settings.flush_denormal:
        torch.set_flush_denormal(True)
    dataset = dataset or load_data(recipe)
    weightless.require(functools.partial(architecture, recipe, dataset))
    random_state.seed_everything(values["seed"])
    model = build_model(recipe, dataset)
    remarks = dataset.remarks if isinstance(dataset, LanguageData) else images.prepare(model, recipe, dataset)
    model = model.to(device)
    settings = plan.layout(settings, model, device)
    if settings.compile == "auto" and recipe.values["task"] == "text-classification":
        settings = dataclasses.replace(settings, compile="off")  # each length would be compiled anew
    channels_last = settings.channels_last == "on"
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    batches = split_batches(recipe, dataset, "train", device, True, channels_last)
    # images that grow would have every convolution tried anew for each size
    machine.choose_kernels(settings.deterministic, benchmark=not getattr(batches, "grow_epochs", 0))
    names = evaluated_splits(dataset)[:1]
    evaluations: dict[str, Batches] = {
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
    footprint.require(job)
    batch = next(iter(batches.epoch(0)))
    last_batch.require(job, batch)
    job.settings = plan.settle(settings, model, task, batch, device, job.total_steps)
    machine.multiply_at(job.settings.precision)
    decided = {**values, "train": {**values["train"], **{k: getattr(job.settings, k) for k in plan.DECIDED}}}
    if settings.precision not in ("auto", job.settings.precision):
        remarks = [*remarks, f"train.precision is {job.settings.precision}: {device} has no {settings.precision}"]
    if isinstance(dataset, LanguageData):
        remarks = [*remarks, *(f"{measure} is left out: {why}" for measure, why in dataset.left_out.items())]
    return Built(Recipe(recipe.name, recipe.path, decided), dataset, job, remarks)


@dataclass
class Trained:
    """A model with the weights of a checkpoint, and the data of its recipe, treated as in training."""

    model: nn.Module
    dataset: Dataset | LanguageData
    settings: Settings
    step: int


def trained(recipe: Recipe, checkpoint_path: Path, device: torch.device, whole: bool = False) -> Trained:
    """Load a checkpoint (its moving average, if it has one) for evaluation on the recipe's data.

    Args:
        recipe: of the run, perhaps with other data.
        checkpoint_path: the checkpoint.
        device: for the model.
        whole: whether nothing is held out of the data, as `build.data.measured` decides.

    Raises:
        DlkitError: the checkpoint is damaged or not finite, or the data is missing, broken or of other classes.
    """
    saved = checkpoint.load(checkpoint_path, files=("model", "ema"))
    dataset = load_data(recipe, saved.state["data"], whole)
    weightless.require(functools.partial(architecture, recipe, dataset))
    model = build_model(recipe, dataset)
    require_weights(saved.weights, checkpoint_path)
    load_weights(model, saved.weights)
    model = model.to(device)
    settings = Settings(**recipe.values["train"])
    settings = dataclasses.replace(settings, precision=machine.feasible(settings.precision, device))
    machine.multiply_at(settings.precision)
    machine.choose_kernels(settings.deterministic, benchmark=False)  # the same answer, whenever it is asked
    if settings.channels_last == "on":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Trained(model, dataset, settings, saved.step)


@dataclass
class Evaluation:
    """What an evaluation found: shares of 1, losses in nats; `confusion` is (K, K) counts or None.

    `damaged` images were left out, as `dlkit.data.images.streaming` does: name -> why. `extent` is what was measured of
    which file, as fields of a record.
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


def evaluation(
    recipe: Recipe, found: Trained, split: str | None, device: torch.device, views: Views | None = None
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
    split = split or default_split(dataset)
    batches = split_batches(recipe, dataset, split, device, False, channels_last)
    task = build_task(recipe, dataset, views)
    meter = task.meter(device)
    started = time.perf_counter()
    evaluate(model, watched(batches), meter, functools.partial(autocast, settings.precision, device))
    metrics, confusion = meter.metrics(), meter.confusion_matrix()
    require_metrics(metrics)
    seconds = time.perf_counter() - started
    rows = per_class(confusion, dataset.classes) if confusion is not None else []
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
        extent(dataset, split),
        dataset.left_out if isinstance(dataset, LanguageData) else {},
        settings.precision,
    )


def build_model(recipe: Recipe, dataset: Dataset | LanguageData) -> nn.Module:
    """The recipe's model, with the weights that it begins with."""
    return dataset.model(recipe) if isinstance(dataset, LanguageData) else architecture(recipe, dataset)


def architecture(recipe: Recipe, dataset: Dataset | LanguageData) -> nn.Module:
    """The recipe's model with random weights."""
    if isinstance(dataset, LanguageData):
        return dataset.untrained(recipe)
    (constructor, keys), _ = parts("model", recipe.values["model"])
    return constructor(dataset.input_shape, len(dataset.classes), **keys)


def build_task(recipe: Recipe, dataset: Dataset | LanguageData, views: Views | None = None) -> Task:
    (loss, keys), _ = parts("loss", recipe.values["loss"])
    views = views or Settings(**recipe.values["train"]).test_views
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
) -> Batches:
    """Batches of one split. Raises RequestError if the data set has no such split."""
    require_split(dataset, split)
    if isinstance(dataset, LanguageData):
        return dataset.batches(recipe, split, device, training)
    return images.batches(recipe, dataset, split, device, training, channels_last)


def _go_on() -> bool:
    return False


@dataclass
class Contest:
    """The grid of `compare-optimizers` as objects: one recipe for each optimizer, data loaded once.

    Args:
        recipes: optimizer -> the recipe that it runs, whose learning rate and seed each contender replaces.
        device: to train on.
        should_stop: whether runs shall stop.
    """

    recipes: dict[str, Recipe]
    device: torch.device
    should_stop: Callable[[], bool] = _go_on

    @functools.cached_property
    def dataset(self) -> Dataset | LanguageData:
        return load_data(next(iter(self.recipes.values())))

    def training(self, contender: Contender) -> Training:
        """A contender's run, ready to go."""
        recipe = self.recipes[contender.optimizer]
        values = {
            **recipe.values,
            "optimizer": contender.applied_to(recipe.values["optimizer"]),
            "seed": contender.seed,
        }
        changed = Recipe(recipe.name, recipe.path, values)
        return training(changed, self.device, self.should_stop, self.dataset).training

    def workers(self, contenders: list[Contender], processes: int) -> Iterator[Told]:
        """Run the contenders in processes of one thread, as they finish."""
        fresh = Contest(self.recipes, self.device)  # without the data: each process loads its own
        prepare = functools.partial(_join_contest, fresh)
        yield from race.workers(contenders, _run_contender, prepare, processes, self.should_stop)


_contest: Contest | None = None  # of a worker process


def _join_contest(contest: Contest, stop: Event) -> None:
    global _contest
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        getattr(signal, "SIGHUP", signal.SIGTERM),
    ):  # they may reach all processes: the parent stops the race
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    machine.pick_device(str(contest.device))  # which sets up the process for it
    contest.should_stop = stop.is_set
    _contest = contest


def _end_with_parent() -> None:
    """A race that is killed leaves no worker behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run_contender(contender: Contender) -> Outcome | None:
    assert _contest is not None
    (last,) = collections.deque(race.run_one(_contest.training(contender), contender), maxlen=1)
    return last if isinstance(last, Outcome) else None


def descend(
    surface: Surface,
    contender: Contender,
    start: tuple[float, float],
    steps: int,
    should_stop: Callable[[], bool] = _go_on,
) -> Outcome | None:
    """Run a contender on a surface; each point of its way is a metric of the curve. None if it is asked to stop."""
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    constructor = resolve(SECTIONS["optimizer"][contender.optimizer].target)
    own = {p.name: p.default for p in inspect.signature(constructor).parameters.values() if p.kind is p.KEYWORD_ONLY}
    optimizer = constructor([theta], **contender.applied_to(own))
    began, curve = time.perf_counter(), list[tuple[int, dict[str, float]]]()
    diverged = False
    for step in range(steps + 1):
        if should_stop():
            return None
        value = surface.function(theta[0], theta[1])
        x, y, loss = theta[0].item(), theta[1].item(), value.item()
        diverged = not math.isfinite(loss)
        if diverged:
            break
        curve.append((step, {"loss": loss, "x": x, "y": y, "distance": surface.distance(x, y)}))
        if step < steps:
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    metrics = {} if diverged else curve[-1][1]
    loss = math.nan if diverged else metrics["loss"]
    done = curve[-1][0] if curve else 0
    return Outcome(contender, done, loss, metrics, curve, diverged, time.perf_counter() - began)
