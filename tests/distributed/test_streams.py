"""Streams of images: each process decodes its own rows, and what is damaged is left out and counted over all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit import recipe as recipes
from dlkit.distributed.process_group import World, current_world
from dlkit.doctor.samples import write_photographs
from dlkit.tasks.task_data import load_data

pytestmark = pytest.mark.distributed

MIXING = ("data.mixup=0.2", "data.cutmix=1.0")


def epoch_of(folder: str, changes: tuple[str, ...], world: World) -> tuple[list[dict[str, Any]], dict[str, str], int]:
    """The batches of an epoch as this rank has them, the images that are damaged, and the last batch's position."""
    few = ("data.size=32", "data.workers=0", "data.batch_size=7", *changes)
    recipe = recipes.load("imagenet-resnet50", [f"data.path={folder}", *few])
    source: Any = load_data(recipe).batches(recipe, "train", torch.device("cpu"), True)
    if world.size > 1:
        source.shard(world)
    return [{**vars(batch)} for batch in source.epoch(1)], source.damaged, source.passed


def both_epochs(whole: str, broken: str) -> list[Any]:
    found = [epoch_of(whole, (), current_world()), epoch_of(whole, MIXING, current_world())]
    return [*found, epoch_of(broken, (), current_world())]


def test_blocks_of_a_stream_are_the_batches_of_one_process(
    in_two_processes: Callable[..., list[Any]], tmp_path: Path
) -> None:
    folders = [tmp_path / "whole", tmp_path / "broken"]
    for folder in folders:
        folder.mkdir()
    whole, broken = (str(write_photographs(folder)) for folder in folders)
    (Path(broken) / "train" / "left" / "3.jpg").write_bytes(b"no image")
    alone = [epoch_of(whole, (), World()), epoch_of(whole, MIXING, World()), epoch_of(broken, (), World())]
    for one, first, second in zip(alone, *in_two_processes(both_epochs, whole, broken), strict=True):
        assert one[1].keys() == first[1].keys() == second[1].keys() and one[2] == first[2] == second[2]
        assert len(one[0]) == 4
        for batch, *parts in zip(one[0], first[0], second[0], strict=True):
            assert {part["whole"] for part in parts} == {len(batch["targets"])}
            for field in ("inputs", "targets", "mixed_targets"):
                if batch[field] is not None:
                    assert torch.equal(torch.cat([part[field] for part in parts]), batch[field])
    assert [len(damaged) for _, damaged, _ in alone] == [0, 0, 1]
