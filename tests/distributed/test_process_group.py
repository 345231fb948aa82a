"""Processes that torchrun starts are one world; others are worlds of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dlkit.distributed.process_group import World, current_world, join_world
from dlkit.distributed.torchrun import LaunchedProcess, is_first_process, launched_process


def exchanged() -> dict[str, Any]:
    world = current_world()
    world.barrier()
    return {
        "place": (world.rank, world.local_rank, world.size, world.first, is_first_process()),
        "broadcast": world.broadcast_object({"from": world.rank}, source=1),
        "gathered": world.gather_objects("ab"[world.rank]),
        "sum": world.sum(torch.tensor([1.0 + world.rank, 2.0])).tolist(),
        "one": world.any_rank(world.rank == 1),
        "none": world.any_rank(False),
        "tensor": world.broadcast(torch.full((2,), float(world.rank)), source=1).tolist(),
        "share": list(world.share(5)),
    }


@pytest.mark.distributed
def test_what_two_processes_say_to_each_other(in_two_processes: Callable[..., list[Any]]) -> None:
    first, second = in_two_processes(exchanged)
    assert first.pop("place") == (0, 0, 2, True, True) and second.pop("place") == (1, 1, 2, False, False)
    assert first.pop("share") == [0, 1, 2] and second.pop("share") == [3, 4]
    expected = {"broadcast": {"from": 1}, "gathered": ["a", "b"], "sum": [3.0, 4.0], "one": True, "none": False}
    assert first == second == {**expected, "tensor": [1.0, 1.0]}


def test_a_world_of_one_needs_no_process_group() -> None:
    with join_world(torch.device("cpu")) as world:
        assert (world.rank, world.size, world.first) == (0, 1, True)
        world.barrier()
        assert world.gather_objects(3) == [3] and world.broadcast_object(4) == 4
        assert world.any_rank(True) and not world.any_rank(False)
        assert world.sum(torch.ones(2)).tolist() == [1.0, 1.0] and list(world.share(3)) == [0, 1, 2]
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(("count", "size"), [(0, 3), (1, 4), (7, 3), (12, 4)])
def test_shares_are_contiguous_and_cover_every_item_once(count: int, size: int) -> None:
    shares = [World(rank, rank, size).share(count) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_only_torchruns_own_variables_make_a_process_part_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "here",
        "MASTER_PORT": "1",
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launched_process() is None and is_first_process()  # a cluster sets as much for jobs of its own
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    assert launched_process() == LaunchedProcess(3, 1, 4, 2) and not is_first_process()
