"""How the processes of a job share a model where the recipe leaves it open, with a stand-in for a GPU's free memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dlkit import memory
from dlkit.errors import RequestError
from dlkit.training import autotune
from dlkit.training.settings import TrainSettings

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)
MODEL = nn.Sequential(nn.Linear(31, 17), nn.ReLU(), nn.Linear(17, 5))


def bytes_of_adam(model: nn.Module) -> int:
    """What torch's own AdamW holds after a step: weights, their gradients, and its two moments."""
    twin = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(twin.parameters())
    twin(torch.ones(1, 31)).sum().backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    held = [*twin.parameters(), *(parameter.grad for parameter in twin.parameters()), *moments]
    return sum(tensor.untyped_storage().nbytes() for tensor in held)


@pytest.mark.parametrize(
    ("more", "device", "parallel", "expected"),
    [
        (1, CUDA, "auto", "ddp"),
        (0, CUDA, "auto", "fsdp"),  # nothing would be left for activations
        (-1, CUDA, "auto", "fsdp"),
        (-1, CUDA, "ddp", "ddp"),
        (1, CUDA, "fsdp", "fsdp"),
        (-1, CPU, "auto", "ddp"),  # whose memory all processes of a machine share, however they divide the model
    ],
)
def test_a_model_is_divided_where_its_states_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, more: int, device: torch.device, parallel: Any, expected: str
) -> None:
    asked: list[str] = []

    def free(device: str = "cpu") -> int:
        asked.append(device)
        return bytes_of_adam(MODEL) + more

    monkeypatch.setattr(memory, "free_memory", free)
    monkeypatch.setattr(autotune, "reduced_precision", lambda device: "bf16")
    chosen = autotune.choose_parallel(TrainSettings(epochs=1, parallel=parallel), MODEL, device)
    assert chosen.parallel == expected
    assert set(asked) <= {"cuda:1"}  # this process's own device
    assert chosen.cuda_graph == "off"
    if expected == "fsdp":  # which no process can measure on
        assert (chosen.precision, chosen.compile, chosen.channels_last) == ("bf16", "off", "off")
    else:
        assert (chosen.precision, chosen.compile, chosen.channels_last) == ("auto", "auto", "auto")


def test_what_a_divided_model_is_asked_for_is_kept() -> None:
    asked = TrainSettings(epochs=1, parallel="fsdp", precision="fp16", compile="on", channels_last="on")
    chosen = autotune.choose_parallel(asked, MODEL, CPU)
    assert (chosen.precision, chosen.compile, chosen.channels_last) == ("fp16", "on", "on")
    with pytest.raises(RequestError, match=r"train\.cuda_graph is on"):
        autotune.choose_parallel(TrainSettings(epochs=1, cuda_graph="on"), MODEL, CPU)
