"""What `auto` becomes, on machines of every kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dlkit.data.batch import ClassificationBatch
from dlkit.errors import RequestError
from dlkit.losses import CrossEntropy
from dlkit.tasks.classification import Classification
from dlkit.training import autotune
from dlkit.training import precision as precision_module
from dlkit.training.settings import TrainSettings

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CONVOLVES, DENSE = nn.Conv2d(1, 4, 3), nn.Linear(3, 2)
BATCH = ClassificationBatch(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("device", "model", "precision", "expected"),
    [
        (CPU, CONVOLVES, "auto", "on"),
        (CPU, CONVOLVES, "fp32", "on"),
        (CPU, DENSE, "auto", "off"),
        (CUDA, CONVOLVES, "auto", "on"),
        (CUDA, CONVOLVES, "fp32", "off"),
        (CUDA, DENSE, "bf16", "off"),
        (torch.device("mps"), CONVOLVES, "auto", "off"),
    ],
)
def test_layout(device: torch.device, model: nn.Module, precision: Any, expected: str) -> None:
    assert autotune.choose_layout(TrainSettings(epochs=1, precision=precision), model, device).channels_last == expected


@pytest.mark.parametrize("wanted", ["on", "off"])
def test_what_is_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch, wanted: Any) -> None:
    monkeypatch.setattr(autotune, "step_seconds", None)  # nothing is measured
    settings = TrainSettings(epochs=1, channels_last=wanted, precision="bf16", compile="off", cuda_graph="off")
    assert autotune.choose_layout(settings, CONVOLVES, CPU) == settings
    task = Classification(CrossEntropy(), ("a", "b"))
    assert autotune.resolve_auto(settings, DENSE, task, BATCH, CPU, 10) == settings


def settle(
    monkeypatch: pytest.MonkeyPatch, times: dict[str, float], reduced: str | None, steps: int, **settings: Any
) -> TrainSettings:
    monkeypatch.setattr(precision_module, "reduced_precision", lambda device: reduced)
    monkeypatch.setattr(autotune, "step_seconds", lambda m, t, b, d, precisions: {p: times[p] for p in precisions})
    monkeypatch.setattr(autotune, "can_compile", lambda device: True)
    task = Classification(CrossEntropy(), ("a", "b"))
    return autotune.resolve_auto(TrainSettings(epochs=1, **settings), DENSE, task, BATCH, CPU, steps)


def test_a_shorter_format_is_taken_where_it_is_clearly_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(monkeypatch, {"fp32": 1.2, "bf16": 1.0}, "bf16", 100).precision == "bf16"
    assert settle(monkeypatch, {"fp32": 1.1, "bf16": 1.0}, "bf16", 100).precision == "fp32"
    assert settle(monkeypatch, {"fp32": 1.0, "bf16": 9.0}, "bf16", 100).precision == "fp32"
    assert settle(monkeypatch, {"fp32": 2.0, "fp16": 1.0}, "fp16", 100).precision == "fp16"
    assert settle(monkeypatch, {"fp32": 1.0}, None, 100).precision == "fp32"
    assert settle(monkeypatch, {"fp32": 2.0, "bf16": 1.0}, "bf16", 99).precision == "fp32"  # too short to measure


def test_a_gpu_chooses_among_float32_tf32_and_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most exact one that no other clearly beats."""
    monkeypatch.setattr(precision_module, "has_tf32", lambda device: True)
    for times, expected in (
        ((2.0, 1.0, 0.5), "bf16"),
        ((2.0, 1.0, 0.95), "tf32"),
        ((1.1, 1.0, 0.9), "bf16"),  # bf16 is clearly faster than fp32, which tf32 is not
        ((1.0, 0.99, 0.98), "fp32"),
        ((1.0, 2.0, 3.0), "fp32"),
    ):
        seconds = dict(zip(("fp32", "tf32", "bf16"), times, strict=True))
        assert settle(monkeypatch, seconds, "bf16", 100).precision == expected, times
    assert settle(monkeypatch, {"fp32": 2.0, "tf32": 1.5, "fp16": 1.0}, "fp16", 100).precision == "fp16"


def test_a_format_whose_loss_is_not_finite_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "SMALL", 0)

    class Overflows(Classification):
        def forward(self, model: nn.Module, batch: Any) -> Any:
            loss, right = super().forward(model, batch)
            return loss * (float("inf") if torch.is_autocast_enabled("cpu") else 1), right

    task = Overflows(CrossEntropy(), ("a", "b"))
    assert autotune.step_seconds(DENSE, task, BATCH, CPU, ("fp32", "bf16"), enough=0).keys() == {"fp32"}
    honest = Classification(CrossEntropy(), ("a", "b"))
    assert autotune.step_seconds(DENSE, honest, BATCH, CPU, ("fp32", "bf16"), enough=0).keys() == {"fp32", "bf16"}


def test_compiling_has_to_repay_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(monkeypatch, {"fp32": 1.0}, None, 100).compile == "off"
    assert settle(monkeypatch, {"fp32": 1.0}, None, 5000).compile == "on"
    assert settle(monkeypatch, {"fp32": 0.001}, None, 5000).compile == "off"
    monkeypatch.setattr(autotune, "can_compile", lambda device: False)
    task = Classification(CrossEntropy(), ("a", "b"))
    with pytest.raises(RequestError, match="no C\\+\\+ compiler"):
        autotune.resolve_auto(TrainSettings(epochs=1, precision="fp32", compile="on"), DENSE, task, BATCH, CPU, 1)


def test_measuring_leaves_the_model_and_the_generators_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    seconds = autotune.step_seconds(model, Classification(CrossEntropy(), ("a", "b")), BATCH, CPU, ("fp32", "bf16"))
    assert seconds.keys() == {"fp32"}  # so small a model is not tried at another precision
    assert seconds["fp32"] > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_graph_is_taken_where_it_is_clearly_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Classification(CrossEntropy(), ("a", "b"))
    replayed: dict[str, float | None] = {"seconds": 0.1}
    monkeypatch.setattr(autotune, "step_seconds", lambda m, t, b, d, precisions: dict.fromkeys(precisions, 1.0))
    monkeypatch.setattr(autotune, "replay_seconds", lambda *_: replayed["seconds"])
    monkeypatch.setattr(autotune, "can_compile", lambda device: True)
    monkeypatch.setattr(autotune, "supported_precision", lambda precision, device: precision)

    def settled(steps: int, **settings: Any) -> tuple[str, str]:
        made = autotune.resolve_auto(
            TrainSettings(epochs=1, precision="fp32", **settings), DENSE, task, BATCH, CUDA, steps
        )
        return made.cuda_graph, made.compile

    assert settled(250) == ("on", "off")
    assert settled(100) == ("off", "off")  # too short to choose
    assert settled(250, cuda_graph="off") == ("off", "off")
    assert settled(2500, cuda_graph="off") == ("off", "on")
    assert settled(2500) == ("on", "off")  # a compiler has only the 250 s to shorten that replayed steps take
    replayed["seconds"] = 0.9
    assert settled(250) == ("off", "off")
    replayed["seconds"] = None  # it waits for the device
    assert settled(250) == ("off", "off")
