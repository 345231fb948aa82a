"""A recipe as objects, step by step: data, model, task, optimizer, schedule, and the training run that they make."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dlkit import memory, user_code
from dlkit.distributed.process_group import World
from dlkit.distributed.tensor_parts import is_model_divided
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.recipe.own_component import contract_of
from dlkit.tasks.task_data import TaskData, load_data
from dlkit.training import autotune, last_batch, memory_estimate, parallel_model, rng
from dlkit.training.device import choose_kernels
from dlkit.training.interfaces import BatchSource, Task
from dlkit.training.model_size import model_without_contents, require_room_for_model
from dlkit.training.precision import set_matmul_precision
from dlkit.training.settings import DECIDED, TestViews, TrainSettings
from dlkit.training.training import Training

__all__ = ["Assembled", "assemble_training", "build_task", "initial_model", "load_data", "optimizer_of", "schedule_of",
           "untrained_model"]  # fmt: skip


@dataclass
class Assembled:
    """A recipe as objects. `recipe` has each `auto` setting replaced by what was decided."""

    recipe: Recipe
    dataset: TaskData
    training: Training
    remarks: list[str]  # for the user: what was not taken as the recipe or the pretrained weights have it

    @property
    def parameters(self) -> int:
        """Numbers that are trained or frozen, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.training.model.parameters())


def assemble_training(
    recipe: Recipe,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    dataset: TaskData | None = None,
    world: World | None = None,
) -> Assembled:
    """All that a training run needs, on the device, with every `auto` decided.

    Args:
        recipe: what to train.
        device: to train on.
        should_stop: asked after every step.
        dataset: the recipe's data, where it is loaded already.
        world: the processes that train together; every rank calls this.

    Raises:
        DlkitError: data or pretrained weights are missing or broken, or a step would not fit into memory.
        RequestError: parts of the recipe do not go together.
    """
    world = world or World(device=device)
    settings = TrainSettings(**recipe.values["train"])
    if settings.flush_denormal:
        torch.set_flush_denormal(True)
    dataset = dataset or load_data(recipe)
    if world.size > 1:
        empty = model_without_contents(functools.partial(dataset.untrained_model, recipe))
        settings = autotune.choose_parallel(settings, empty, device)
        settings = world.broadcast_object(settings)  # devices may have different room
    if world.size > 1 and settings.parallel == "fsdp":
        model, remarks = _divided_model(recipe, dataset, world)
    else:
        model, remarks = initial_model(recipe, dataset)
        model = model.to(device)
    settings = autotune.choose_layout(settings, model, device)
    if settings.compile == "auto" and not dataset.same_shape:
        settings = dataclasses.replace(settings, compile="off")  # each shape would be compiled anew
    channels_last = settings.channels_last == "on"
    # a divided weight stays contiguous, as torch asks for; a convolution takes it along with images of another layout
    if channels_last and not is_model_divided(model):
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    batches, evaluations = _batches_of(recipe, dataset, settings, device, channels_last)
    if world.size > 1:
        whole: Any = batches
        whole.shard(world)
    training = Training(
        model=model,
        task=build_task(recipe, dataset),
        optimizer=optimizer_of(recipe, model),
        schedule=schedule_of(recipe),
        batches=batches,
        evaluations=evaluations,
        settings=settings,
        device=device,
        should_stop=should_stop,
        monitored="val" if "val" in evaluations else None,
        description=dataset.description | recipe.described_code(),
        world=world,
    )
    if user_code.is_reference(recipe.values["model"]["name"]):
        _require_outputs(recipe, training, dataset)
    _settle(training)
    remarks += _settled_remarks(settings, training, dataset)
    return Assembled(_decided(recipe, training.settings), dataset, training, remarks)


# ------------------------------------------------------------ the steps


def untrained_model(recipe: Recipe, dataset: TaskData) -> nn.Module:
    """The recipe's model with random weights. Raises DlkitError where memory is too small for it."""
    require_room_for_model(functools.partial(dataset.untrained_model, recipe))
    return dataset.untrained_model(recipe)


def initial_model(recipe: Recipe, dataset: TaskData) -> tuple[nn.Module, list[str]]:
    """The recipe's model as training starts from it, seeded, and remarks about its pretrained weights.

    Raises:
        DlkitError: memory is too small for it, or its weights are missing or broken.
    """
    require_room_for_model(functools.partial(dataset.untrained_model, recipe))
    rng.seed_everything(recipe.values["seed"])
    return dataset.initial_model(recipe)


def _divided_model(recipe: Recipe, dataset: TaskData, world: World) -> tuple[nn.Module, list[str]]:
    """The model of `initial_model`, which rank 0 alone makes, divided among ranks."""
    from dlkit.distributed.fully_sharded import shard_model

    model = model_without_contents(functools.partial(dataset.untrained_model, recipe))
    rng.seed_everything(recipe.values["seed"])
    source, remarks = initial_model(recipe, dataset) if world.first else (None, [])
    shard_model(model, source, world)
    torch.set_rng_state(world.broadcast(torch.get_rng_state()))  # initialisation has drawn from rank 0's alone
    return model, world.broadcast_object(remarks)


def build_task(recipe: Recipe, dataset: TaskData, views: TestViews | None = None) -> Task:
    """What the recipe learns from the data; `views` stands for its `test_views`."""
    (loss, keys), _ = components("loss", recipe.values["loss"])
    views = views or TrainSettings(**recipe.values["train"]).test_views
    if views != "one" and dataset.images is None:
        raise RequestError(f"test_views: {views} needs images, {dataset.name} has none", "set train.test_views=one")
    made = loss(**keys)
    if getattr(made, "class_weights", None) is not None and "train" in dataset.splits:
        made.weigh(dataset.class_counts("train"))
    return dataset.objective(made, views)


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over the model's parameters, in groups that share learning rate and weight decay."""
    (optimizer, keys), [(grouping, grouping_keys), *divisions] = components("optimizer", recipe.values["optimizer"])
    groups = grouping(model, **grouping_keys)
    for divide, divide_keys in divisions:  # Muon's matrices apart from the rest
        groups = divide(model, groups, **divide_keys)
    if user_code.is_reference(recipe.values["optimizer"]["name"]):  # which may be torch's, and knows no factors
        for group in groups:
            if "lr_factor" in group:
                group["lr"] = keys["lr"] * group.pop("lr_factor")
    return optimizer(groups, **keys)


def schedule_of(recipe: Recipe) -> Callable[[int, int], float]:
    """The recipe's schedule: (step, total steps) -> a factor of the learning rate."""
    (schedule, keys), _ = components("schedule", recipe.values["schedule"])
    return functools.partial(schedule, **keys)


def _batches_of(
    recipe: Recipe, dataset: TaskData, settings: TrainSettings, device: torch.device, channels_last: bool
) -> tuple[BatchSource, dict[str, BatchSource]]:
    """The batches to train on, and those of the split to evaluate on meanwhile, by its name."""
    batches = dataset.batches(recipe, "train", device, True, channels_last)
    # images that grow would have every convolution tried anew for each size
    choose_kernels(settings.deterministic, benchmark=not getattr(batches, "grow_epochs", 0))
    evaluations = {
        split: dataset.batches(recipe, split, device, False, channels_last) for split in dataset.evaluated_splits[:1]
    }
    if settings.patience is not None and "val" not in evaluations:
        raise RequestError(
            f"train.patience needs validation data, and {dataset.name} has none; the test split is not for choosing by",
            "hold some out: data.validation=0.1",
        )
    return batches, evaluations


def _settle(training: Training) -> None:
    """Refuse what cannot work, before it is begun, and decide what the settings leave at `auto`."""
    training.schedule(0, training.total_steps)  # which refuses a warm-up that does not fit
    _require_large_enough_images(training)
    memory_estimate.require_step_fits(training)
    batch = next(iter(training.batches.epoch(0)))
    last_batch.require_usable_last_batch(training, batch)
    world, settings = training.world, training.settings
    if world.first:  # the clocks of two processes may choose differently
        settings = autotune.resolve_auto(
            settings, training.model, training.task, batch, training.device, training.total_steps
        )
    training.settings = world.broadcast_object(settings)
    if world.size > 1 and settings.parallel == "ddp":
        training.leaves_out = world.any_rank(parallel_model.leaves_out(training, batch))
    set_matmul_precision(training.settings.precision)


@torch.no_grad()
def _require_outputs(recipe: Recipe, training: Training, dataset: TaskData) -> None:
    """Raise RequestError unless a model of the user's own returns what the task asks for."""
    batch = next(iter(training.batches.epoch(0)))
    expected = dataset.output_shape(batch)

    def check(_module: nn.Module, _inputs: Any, output: Any) -> None:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else None
        if shape != expected:
            path, name = user_code.split_reference(recipe.values["model"]["name"])
            found = f"a tensor of shape {shape}" if shape else f"a {type(output).__name__}"
            raise RequestError(
                f"{path}: {name} returns {found} for the first batch, and not one of shape {expected}",
                f"the contract: {contract_of('model', recipe.values['task']).call}",
            )

    training.model.eval()
    with training.model.register_forward_hook(check):
        training.task.forward(training.model, batch)
    training.model.train()


@torch.no_grad()
def _require_large_enough_images(training: Training) -> None:
    """Raise RequestError if images that grow begin smaller than the model can take."""
    if getattr(training.batches, "start_size", None) is None:
        return
    images = next(iter(training.batches.epoch(0))).inputs[:2]
    training.model.eval()
    try:
        training.model(images)
    except RuntimeError as error:
        if memory.is_out_of_memory(error):
            raise
        height, width = images.shape[2:]
        raise RequestError(
            f"the first images, of {height}x{width}, are too small for the model", "raise data.start_size"
        ) from None
    training.model.train()


def _settled_remarks(asked: TrainSettings, training: Training, dataset: TaskData) -> list[str]:
    remarks = [f"{measure} is left out: {why}" for measure, why in dataset.left_out.items()]
    precision = training.settings.precision
    if asked.precision not in ("auto", precision):
        remarks.insert(0, f"train.precision is {precision}: {training.device} has no {asked.precision}")
    return remarks


def _decided(recipe: Recipe, settings: TrainSettings) -> Recipe:
    """The recipe with the settings that were decided."""
    decided = {key: getattr(settings, key) for key in DECIDED}
    values = {**recipe.values, "train": {**recipe.values["train"], **decided}}
    return Recipe(recipe.name, recipe.path, values)
