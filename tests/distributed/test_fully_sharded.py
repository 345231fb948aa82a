"""A model that is divided begins as one process's, though rank 0 alone ever has the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit import assemble
from dlkit import recipe as recipes
from dlkit.distributed.process_group import current_world
from dlkit.distributed.tensor_parts import is_divided, whole_of
from dlkit.doctor.samples import write_corpus

pytestmark = pytest.mark.distributed

# a tied embedding, widths that two ranks divide unevenly, and running statistics
RECIPES = {
    "pydoc-gpt": ("model.layers=2", "model.heads=3", "model.width=21", "tokenizer.name=byte", "data.name=text",
                  "data.context=16", "train.steps=2", "train.epochs=null"),
    "digits-resnet20": ("model.norm=batch", "train.epochs=1"),
}  # fmt: skip


def loaded(name: str, folder: Path, *more: str) -> Any:
    corpus = [f"data.path={folder / 'corpus.txt'}"] if name == "pydoc-gpt" else []
    return recipes.load(name, [*RECIPES[name], *corpus, "train.precision=fp32", "train.compile=off", *more])


def divided_models(folder: Path) -> dict[str, Any]:
    """By recipe: the whole of each tensor, whether its parts are of one size, and a number drawn thereafter."""
    world, initial_model = current_world(), assemble.initial_model

    def first_rank_only(*of: Any) -> Any:
        assert world.first
        return initial_model(*of)

    found = dict[str, Any]()
    assemble.initial_model = first_rank_only
    for name in RECIPES:
        assembled = assemble.assemble_training(
            loaded(name, folder, "train.parallel=fsdp"), torch.device("cpu"), world=world
        )
        model = assembled.training.model
        drawn = torch.rand(1)
        assert not any(parameter.is_meta for parameter in model.parameters())
        assert all(map(is_divided, model.parameters()))
        if name == "pydoc-gpt":
            assert model.get_parameter("head.weight") is model.get_parameter("tokens.weight")
        found[name] = {key: whole_of(value) for key, value in model.state_dict().items()}, drawn
    assemble.initial_model = initial_model
    return found


def test_every_rank_has_its_part_of_the_first_ones_model(
    tmp_path: Path, in_two_processes: Callable[..., list[Any]]
) -> None:
    write_corpus(tmp_path, 200)
    first, second = in_two_processes(divided_models, tmp_path)
    for name in RECIPES:
        recipe = loaded(name, tmp_path)
        model, _ = assemble.initial_model(recipe, assemble.load_data(recipe))
        drawn = torch.rand(1)
        expected = model.state_dict()
        for tensors, number in (first[name], second[name]):
            assert tensors.keys() == expected.keys()
            assert all(torch.equal(tensors[key], value) for key, value in expected.items())
            assert number == drawn
