"""The loop against hand-written torch loops in float64, and what it promises about resuming, stopping and syncing."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dlkit import schedules
from dlkit.data.batch import Batch, ClassificationBatch
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.errors import DlkitError
from dlkit.losses import CrossEntropy
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification
from dlkit.tasks.language_modelling import MaskedLM
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.events import Checkpointed, Evaluated, Event, Finished, StepDone
from dlkit.training.loop import Training, fit
from dlkit.training.settings import TrainSettings
from dlkit.training.weights import load_weights

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")


class Rows:
    """A small stand-in for a data set: 26 rows of 5 numbers, in an order that each epoch draws anew."""

    def __init__(
        self, batch_size: int = 6, samples: int = 26, dtype: torch.dtype = torch.float64, seed: int = 3
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(samples, 5, generator=generator, dtype=dtype)
        self.targets = torch.randint(3, (samples,), generator=generator)
        self.samples, self.batch_size = samples, batch_size

    def __len__(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(number))
        for rows in order.split(self.batch_size)[start:]:
            yield ClassificationBatch(self.inputs[rows], self.targets[rows])


class Memory:
    """Keeps every checkpoint, as deep copies."""

    def __init__(self) -> None:
        self.saved: list[Checkpoint] = []
        self.best: list[bool] = []

    def save(self, checkpoint: Checkpoint, best: bool) -> str:
        self.saved.append(copy.deepcopy(checkpoint))
        self.best.append(best)
        return "memory"


def network(dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)).to(dtype)


def training(model: nn.Module, batches: Rows | None = None, **options: Any) -> Training:
    settings = {"epochs": 3, "precision": "fp32", "compile": "off", "channels_last": "off", "eval_every": "never"}
    fields: dict[str, Any] = {
        "optimizer": Momentum(model.parameters(), lr=0.1, nesterov=True),
        "schedule": functools.partial(schedules.cosine, warmup=0.2),
        "evaluations": {},
        "task": Classification(CrossEntropy(label_smoothing=0.1), CLASSES),
    }
    fields |= {key: options.pop(key) for key in list(options) if key in Training.__dataclass_fields__}
    return Training(
        model=model,
        batches=batches or Rows(),
        settings=TrainSettings(**{**settings, **options}),
        device=CPU,
        **fields,
    )


def finish(run: Training, store: Memory | None = None, resume: Checkpoint | None = None) -> list[Event]:
    return list(fit(run, store, resume))


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


def assert_same_weights(a: nn.Module, b: nn.Module, tolerance: float = 1e-12) -> None:
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], rtol=tolerance, atol=tolerance)


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
