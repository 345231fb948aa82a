"""From a recipe to objects: each step on its own, and what is decided is written back into the recipe."""

from __future__ import annotations

import pytest
import torch

from dlkit import recipe
from dlkit.assemble import assemble_training, initial_model, load_data, optimizer_of, schedule_of
from dlkit.errors import RequestError
from dlkit.training.settings import DECIDED

CPU = torch.device("cpu")
FEW = ["data={name: digits, classes: ['3', '8'], per_class: 8}", "train={epochs: 2}"]


def test_what_is_decided_is_in_the_recipe_and_in_the_training() -> None:
    loaded = recipe.load("digits-mlp", FEW)
    found = assemble_training(loaded, CPU)
    train = found.recipe.values["train"]
    assert "auto" in [loaded.values["train"][key] for key in DECIDED]
    assert "auto" not in [train[key] for key in DECIDED]
    assert {key: train[key] for key in DECIDED} == {key: getattr(found.training.settings, key) for key in DECIDED}
    again = assemble_training(found.recipe, CPU, dataset=found.dataset)
    assert again.recipe == found.recipe
    assert again.training.description == found.dataset.description


def test_a_seed_gives_the_same_model_and_another_one_another() -> None:
    loaded = recipe.load("digits-mlp", FEW)
    data = load_data(loaded)
    (one, _), (two, _) = initial_model(loaded, data), initial_model(loaded, data)
    other, _ = initial_model(recipe.load("digits-mlp", [*FEW, "seed=1"]), data)
    first, second, third = (torch.cat([p.flatten() for p in model.parameters()]) for model in (one, two, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_the_optimizer_has_the_keys_of_its_section_and_each_parameter_once() -> None:
    loaded = recipe.load("digits-mlp", [*FEW, "optimizer={name: adamw, lr: 0.01, weight_decay: 0.5, decay: weights}"])
    model, _ = initial_model(loaded, load_data(loaded))
    groups = optimizer_of(loaded, model).param_groups
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()}
    decays = {p.dim() > 1: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {True: 0.5, False: 0}
    assert {group["lr"] for group in groups} == {0.01}


def test_the_schedule_has_the_keys_of_its_section() -> None:
    schedule = schedule_of(recipe.load("digits-mlp", [*FEW, "schedule={name: linear, warmup: 0}"]))
    assert [schedule(step, 4) for step in (0, 2)] == [1.0, 0.5]


def test_parts_of_a_recipe_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(RequestError, match="needs validation data"):
        assemble_training(recipe.load("digits-mlp", [*FEW, "train.patience=2"]), CPU)


def test_a_split_that_is_not_there_is_refused_with_those_that_are() -> None:
    loaded = recipe.load("digits-mlp", FEW)
    data = load_data(loaded)
    assert data.evaluated_splits == ["test"]
    with pytest.raises(RequestError, match="no split 'val'") as refused:
        data.batches(loaded, "val", CPU, training=False)
    assert refused.value.hint == "its splits: train, test"
    data.take_whole()  # the digits come with a test split, which stays
    assert list(data.splits) == ["train", "test"]


@pytest.mark.parametrize(("model", "too_small"), [("cnn", True), ("resnet", False)])
def test_images_that_begin_too_small_for_the_kernels_are_refused(model: str, too_small: bool) -> None:
    changes = [f"model={{name: {model}}}", "data.start_size=2", "data.grow_epochs=1", "train.steps=1"]
    found = recipe.load("digits-resnet20", changes)
    if not too_small:
        assemble_training(found, CPU)
        return
    with pytest.raises(RequestError, match=r"images, of 2x2, are too small"):
        assemble_training(found, CPU)
