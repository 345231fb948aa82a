"""The loop against hand-written torch loops in float64, and what it promises about resuming, stopping and syncing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dlkit import schedules
from dlkit.data.batch import Batch
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.losses import CrossEntropy
from dlkit.optim.adamw import AdamW
from dlkit.tasks.language_modelling import MaskedLM
from dlkit.training.events import Checkpointed, Evaluated, Event, Finished, StepDone
from dlkit.training.loop import Training, fit
from tests.training.small_run import CPU, Memory, Rows, assert_same_weights, finish, network, training


def reference(model: nn.Module, batches: Rows, epochs: int, each: Callable[[int, int], None] = lambda *_: None) -> None:
    """The same training as `training` describes, by hand and with torch's own parts."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, foreach=False)
    total, step = epochs * len(batches), 0
    for epoch in range(epochs):
        for inputs, targets in map(Batch.tensors, batches.epoch(epoch)):
            optimizer.param_groups[0]["lr"] = 0.1 * schedules.cosine(step, total, warmup=0.2)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets, label_smoothing=0.1).backward()
            each(step, total)
            optimizer.step()
            step += 1


def test_it_is_the_loop_that_one_would_write() -> None:
    mine, theirs = network(), network()
    events = finish(training(mine))
    reference(theirs, Rows(), 3)
    assert_same_weights(mine, theirs)
    assert not torch.equal(mine.state_dict()["0.weight"], network().state_dict()["0.weight"])
    assert isinstance(events[-1], Finished)
    assert (events[-1].step, events[-1].epochs, events[-1].reason) == (15, 3.0, "done")


def test_gradients_are_clipped_to_their_global_norm() -> None:
    mine, theirs = network(), network()
    finish(training(mine, clip_norm=0.05))

    def clip(step: int, total: int) -> None:
        gradients = [parameter.grad for parameter in theirs.parameters() if parameter.grad is not None]
        norm = torch.sqrt(sum(((g**2).sum() for g in gradients), torch.tensor(0.0, dtype=torch.float64)))
        for gradient in gradients:
            gradient.mul_(min(1.0, 0.05 / (norm.item() + 1e-6)))

    reference(theirs, Rows(), 3, clip)
    assert_same_weights(mine, theirs)


@pytest.mark.parametrize("samples", [24, 26, 27])
def test_accumulated_batches_are_one_large_batch(samples: int) -> None:
    mine, theirs = network(), network()
    events = finish(training(mine, Rows(6, samples), accumulate=2))
    finish(training(theirs, Rows(12, samples)))
    assert_same_weights(mine, theirs)
    steps = [event.samples for event in events if isinstance(event, StepDone)]
    assert sum(steps) == 3 * samples


def test_the_moving_average_is_what_is_evaluated() -> None:
    model, decay = network(), 0.4
    held = Rows(6, 12, seed=9)
    run = training(model, ema=decay, evaluations={"val": held}, epochs=2, eval_every="1 epoch")
    ramp = iter([1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 9 / 18, 10 / 19])  # (1 + t) / (10 + t)

    def averaged(average: Any, values: Any, _: Any) -> None:  # in place, as AveragedModel wants it
        kept = min(decay, next(ramp))
        for old, new in zip(average, values, strict=True):
            old.copy_(kept * old + (1 - kept) * new)

    average = AveragedModel(model, multi_avg_fn=averaged)
    average.n_averaged += 1  # the weights of the start are the first average, where torch would copy the next ones
    evaluated: list[Evaluated] = []
    for event in fit(run):
        if isinstance(event, StepDone):
            average.update_parameters(model)
        elif isinstance(event, Evaluated):
            evaluated.append(event)
            loss = F.cross_entropy(average(held.inputs), held.targets).item()
            assert event.metrics["val/loss"] == pytest.approx(loss, rel=1e-6)
            live = F.cross_entropy(model(held.inputs), held.targets).item()  # the weights are back in place
            assert live != pytest.approx(loss, rel=1e-4)
    assert [event.step for event in evaluated] == [5, 10]


@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"accumulate": 2}, {"clip_norm": 0.1, "log_every": 3}])
def test_resuming_at_any_step_is_exact(options: dict[str, Any]) -> None:
    def run() -> Training:
        model = network(torch.float32, dropout=0.3)
        optimizer = AdamW(model.parameters(), lr=0.01)
        more = {"evaluations": {"val": Rows(5, 10, torch.float32, 9)}, "eval_every": "4 steps", "monitored": "val"}
        every = {"checkpoint_every": "1 steps", "epochs": 2}
        return training(model, Rows(dtype=torch.float32), optimizer=optimizer, **more, **every, **options)

    def told(events: list[Event]) -> list[Any]:
        return [event for event in events if isinstance(event, (StepDone, Evaluated))]

    whole, store = run(), Memory()
    events = told(finish(whole, store))
    final = whole.model.state_dict()
    for checkpoint in store.saved:
        torch.manual_seed(999)  # resuming has to restore the generator that dropout draws from
        resumed = run()
        torch.rand(17)
        rest = told(finish(resumed, Memory(), checkpoint))
        assert all(torch.equal(final[name], value) for name, value in resumed.model.state_dict().items())
        assert rest == [event for event in events if event.step > checkpoint.step]


def test_the_cadence_of_logs_evaluations_and_checkpoints() -> None:
    store = Memory()
    run = training(
        network(), evaluations={"val": Rows(5, 10)}, eval_every="4 steps", checkpoint_every="2 epochs", log_every=7
    )
    events = finish(run, store)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in steps] == list(range(1, 16))
    assert [event.epoch for event in steps] == [0] * 5 + [1] * 5 + [2] * 5
    assert [event.step for event in steps if event.metrics] == [7, 14, 15]
    assert [event.step for event in events if isinstance(event, Evaluated)] == [4, 8, 12, 15]
    assert [event.step for event in events if isinstance(event, Checkpointed)] == [10, 15]
    assert [checkpoint.step for checkpoint in store.saved] == [10, 15]


@pytest.mark.parametrize(("accumulate", "every"), [(1, 4), (2, 2), (1, 1)])
def test_the_training_loss_is_the_mean_over_examples(accumulate: int, every: int) -> None:
    """26 rows are four batches of 6 and one of 2, whose mean counts a third as much."""
    twin, told = network(), list[float]()
    events = finish(training(network(), log_every=every, epochs=1, accumulate=accumulate))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    losses: list[float] = []  # of each row since the last logged step
    batches = list(map(Batch.tensors, Rows().epoch(0)))
    steps = [batches[begin : begin + accumulate] for begin in range(0, len(batches), accumulate)]
    for step, group in enumerate(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * schedules.cosine(step, len(steps), warmup=0.2)
        inputs, targets = (torch.cat(parts) for parts in zip(*group, strict=True))
        each = F.cross_entropy(twin(inputs), targets, label_smoothing=0.1, reduction="none")
        losses += each.tolist()
        optimizer.zero_grad()
        each.mean().backward()
        optimizer.step()
        if (step + 1) % every == 0 or step + 1 == len(steps):
            told.append(float(np.mean(losses)))
            losses = []
    logged = [event.metrics["train/loss"] for event in events if isinstance(event, StepDone) and event.metrics]
    assert logged == pytest.approx(told, rel=1e-9)


@pytest.mark.parametrize("padded", [False, True])
def test_the_loss_of_a_masked_language_model_is_a_mean_over_predictions(padded: bool) -> None:
    """Whole words make the number of predictions of a batch vary, and the last batch of an epoch has fewer windows."""

    class Guess(nn.Module):
        vocabulary = 50

        def __init__(self) -> None:
            super().__init__()
            self.guess = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 50))

        def forward(self, inputs: Tensor, at: Tensor) -> Tensor:
            return self.guess(inputs.flatten()[at])

    torch.manual_seed(0)
    model = Guess().double()
    tokens = np.random.default_rng(0).integers(4, 50, 1000).astype(np.uint16)
    special = MaskingVocabulary(0, 1, 2, 50, np.arange(50) % 3 == 0)
    windows = MaskedWindows(tokens, CPU, 0, True, special, batch_size=7, context=14, mask=0.4, whole_words=True)
    batches = [batch.tensors() for epoch in range(2) for batch in windows.epoch(epoch)]
    sizes = [len(targets) for _, targets, _ in batches]
    assert len(set(sizes)) > 3
    each = [F.cross_entropy(model(inputs, at=at), targets, reduction="none") for inputs, targets, at in batches]
    windows.padded = padded  # as off the CPU
    still = {"optimizer": torch.optim.SGD(model.parameters(), lr=0.0), "task": MaskedLM(CrossEntropy())}
    run = training(model, cast(Any, windows), epochs=2, log_every=len(batches), accumulate=1, **still)
    (logged,) = [event.metrics["train/loss"] for event in finish(run) if isinstance(event, StepDone) and event.metrics]
    assert logged == pytest.approx(torch.cat(each).mean().item(), rel=1e-9)
    assert logged != pytest.approx(np.mean([losses.mean().item() for losses in each]), rel=1e-6)


def test_steps_as_the_length_of_a_run() -> None:
    events = finish(training(network(), epochs=None, steps=7))
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 8))
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.epochs == 7 / 5
