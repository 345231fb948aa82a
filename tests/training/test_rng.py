"""Generators go by their role, so that a run goes on on another device. CUDA's are played where there is none."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from dlkit.training import rng

CPU, FIRST, SECOND = torch.device("cpu"), torch.device("cuda:0"), torch.device("cuda", 1)


class Played:
    """The generators of two CUDA devices, in the place of torch.cuda's."""

    def __init__(self) -> None:
        self.default_generators = [torch.Generator().manual_seed(n) for n in (1, 2)]

    def init(self) -> None: ...

    def get_rng_state(self, device: torch.device) -> Tensor:
        return self.default_generators[device.index or 0].get_state()

    def set_rng_state(self, state: Tensor, device: torch.device) -> None:
        self.default_generators[device.index or 0].set_state(state)

    def draw(self, device: torch.device) -> float:
        return torch.rand((), generator=self.default_generators[device.index or 0]).item()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    for name in ("default_generators", "init", "get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, getattr(played, name))
    return played


def test_every_generator_of_the_host_goes_on() -> None:
    rng.seed_everything(3)
    saved = rng.get_states(CPU)
    assert "device" not in saved[0]
    drawn = (random.random(), np.random.random(), torch.rand(()).item())
    rng.set_states(*saved, CPU)
    assert (random.random(), np.random.random(), torch.rand(()).item()) == drawn


def test_a_run_goes_on_on_another_cuda_device_with_the_same_numbers(cuda: Played) -> None:
    saved = rng.get_states(FIRST)
    assert {name for name in saved[0] if name.startswith("cuda")} == set()
    drawn = cuda.draw(FIRST)
    rng.set_states(*saved, SECOND)
    assert cuda.draw(SECOND) == drawn
    said = rng.note_of_move(saved[1], SECOND)
    assert said == "this run was on cuda:0 and goes on on cuda:1, with the same random numbers"
    assert rng.note_of_move(saved[1], torch.device("cuda")) is None  # which is the first one


def test_a_run_moves_between_kinds_of_devices(cuda: Played) -> None:
    """What the CPU draws goes on as it was; what CUDA draws begins anew, the same whenever it is tried."""
    saved = rng.get_states(CPU)
    drawn = []
    for _ in range(2):
        cuda.draw(FIRST)
        rng.set_states(*saved, FIRST)
        drawn.append((cuda.draw(FIRST), torch.rand(()).item()))
    assert drawn[0] == drawn[1]
    torch.rand(())
    later = rng.get_states(CPU)
    rng.set_states(*later, FIRST)
    assert cuda.draw(FIRST) != drawn[0][0]  # another step, other numbers
    said = rng.note_of_move(saved[1], FIRST)
    assert said is not None and said.startswith("this run was on cpu and goes on on cuda:0: what is drawn there")
    back = rng.get_states(FIRST)
    rng.set_states(*back, CPU)
    assert torch.equal(torch.get_rng_state(), back[0]["torch"])


def test_checkpoints_of_an_earlier_dlkit_hold_cuda_states_by_their_index(cuda: Played) -> None:
    tensors, values = rng.get_states(CPU)
    del values["device"]
    old = tensors | {f"cuda.{index}": cuda.default_generators[index].get_state() for index in (0, 1)}
    drawn = [cuda.draw(FIRST), cuda.draw(SECOND)]
    for device, value in zip((FIRST, SECOND), drawn, strict=True):
        rng.set_states(old, values, device)
        assert cuda.draw(device) == value
    only = {name: state for name, state in old.items() if name != "cuda.1"}
    rng.set_states(only, values, SECOND)
    assert cuda.draw(SECOND) == drawn[0]
    rng.set_states(old, values, CPU)
    assert rng.note_of_move(values, CPU) is None
