"""How the training loop ends, and in which precision it computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlkit.errors import DlkitError
from dlkit.training.events import Evaluated, Event, Finished, StepDone
from dlkit.training.loop import Training, fit
from dlkit.training.weights import load_weights
from tests.training.small_run import Memory, Rows, assert_same_weights, finish, network, training


def test_nothing_waits_for_the_device_between_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        original = getattr(Tensor, name)

        def watched(self: Tensor, *args: Any, _name: str = name, _original: Any = original) -> Any:
            calls.append(_name)
            return _original(self, *args)

        monkeypatch.setattr(Tensor, name, watched)
    counts: list[int] = []
    run = training(
        network(torch.float32), Rows(dtype=torch.float32), clip_norm=1.0, ema=0.9, log_every=10, accumulate=2
    )
    for event in fit(run):
        counts.append(len(calls))
        if isinstance(event, StepDone) and event.step == 8:
            break
    assert counts == [0] * 8


def test_patience_counts_evaluations_without_a_better_one() -> None:
    model = network()
    run = training(
        model,
        schedule=lambda step, total: 0.0 if step >= 5 else 1.0,
        evaluations={"val": Rows(5, 10)},
        monitored="val",
        monitor="loss",
        epochs=50,
        eval_every="1 epoch",
        patience=3,
    )
    store = Memory()
    events = finish(run, store)
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    assert [event.best for event in evaluations] == [True, False, False, False]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.step) == ("patience", 20)
    assert store.best == [True, *store.best[1:]]
    assert store.saved[-1].step == 20
    again = finish(run, Memory(), store.saved[-1])  # resuming a run that is over trains no further
    assert isinstance(again[-1], Finished)
    assert (again[-1].reason, again[-1].step) == ("patience", 20)


def test_without_a_monitored_split_nothing_is_best() -> None:
    store = Memory()
    events = finish(training(network(), evaluations={"test": Rows(5, 10)}, eval_every="1 epoch"), store)
    assert not any(event.best for event in events if isinstance(event, Evaluated))
    assert not any(store.best)


def test_a_request_to_stop_leaves_a_checkpoint() -> None:
    store = Memory()
    seen: list[int] = []
    run = training(network(), should_stop=lambda: len(seen) >= 4)
    events: list[Event] = []
    for event in fit(run, store):
        events.append(event)
        if isinstance(event, StepDone):
            seen.append(event.step)
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.step) == ("stopped", 4)
    assert [checkpoint.step for checkpoint in store.saved] == [4]


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    model = network()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(DlkitError, match="diverged: the training loss of step 1 is not finite"):
        finish(training(model, log_every=2))


class Probe(nn.Module):
    """Notes the number format that its layer computes in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(5, 3)
        self.seen: set[torch.dtype] = set()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.layer(inputs)
        self.seen.add(outputs.dtype)
        return outputs


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_precision_is_that_of_the_forward_pass(precision: str, dtype: str) -> None:
    model, batches = Probe(), Rows(dtype=torch.float32)
    run = training(model, batches, precision=precision, evaluations={"val": batches}, epochs=10)
    events = finish(run)
    assert model.seen == {getattr(torch, dtype)}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    losses = [event.metrics["train/loss"] for event in events if isinstance(event, StepDone) and event.metrics]
    assert losses[-1] < losses[0]


def test_the_scaler_of_fp16_is_part_of_the_checkpoint() -> None:
    def run() -> Training:
        return training(Probe(), Rows(dtype=torch.float32), precision="fp16", checkpoint_every="3 steps")

    whole, store = run(), Memory()
    finish(whole, store)
    resumed = run()
    finish(resumed, Memory(), store.saved[1])
    assert store.saved[1].state["scaler"]["_growth_tracker"] == store.saved[1].step
    assert_same_weights(whole.model, resumed.model, 0.0)


@pytest.mark.slow
def test_a_compiled_model_trains_alike() -> None:
    mine, theirs = network(torch.float32), network(torch.float32)
    finish(training(mine, Rows(dtype=torch.float32), compile="on"))
    finish(training(theirs, Rows(dtype=torch.float32)))
    assert_same_weights(mine, theirs, 1e-5)


def test_weights_that_do_not_fit_are_named() -> None:
    with pytest.raises(DlkitError, match=r"0\.weight is \(2, 5\), the model wants \(8, 5\)"):
        load_weights(network(), {**network().state_dict(), "0.weight": torch.zeros(2, 5)})
    state = network().state_dict()
    del state["3.bias"]
    with pytest.raises(DlkitError, match=r"missing 3\.bias; surplus other"):
        load_weights(network(), {**state, "other": torch.zeros(1)})
