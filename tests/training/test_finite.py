"""NaN and infinity are never an answer, a metric, a step that is taken or a checkpoint."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.data.batch import Batch, CausalBatch, ClassificationBatch, TextBatch
from dlkit.errors import DivergedError, NotFiniteError
from dlkit.finite import first_not_finite, require_finite_metrics
from dlkit.losses import CrossEntropy
from dlkit.metrics.ood import separation
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification, ClassificationMeter
from dlkit.tasks.language_modelling import CausalLM, LanguageMeter
from dlkit.tasks.ood_scores import ScoreMeter
from dlkit.tasks.text_classification import Regression
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.evaluate import evaluate_model
from dlkit.training.events import Event, Finished, StepDone
from dlkit.training.loop import Training, fit
from dlkit.training.run_directory import RunDirectory
from dlkit.training.settings import TrainSettings

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")


class Steps:
    """Eight batches of four rows, the same in each epoch; those in `bad` hold a NaN."""

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(8, 4, 5, generator=generator)
        self.targets = torch.randint(3, (8, 4), generator=generator)
        self.inputs[list(bad), 1, 2] = math.nan
        self.samples, self.batch_size = 32, 4

    def __len__(self) -> int:
        return 8

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        yield from map(ClassificationBatch, self.inputs[start:], self.targets[start:])


class Cliff(nn.Module):
    """A network with a finite loss whose gradient is infinite: that of sqrt |x| at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.offset = nn.Linear(5, 3), nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) + self.offset.abs().sqrt()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def training(model: nn.Module, batches: Steps, lr: float = 0.1, **options: Any) -> Training:
    settings = {"epochs": 1, "precision": "fp32", "compile": "off", "channels_last": "off", "eval_every": "never"}
    fields = {name: options.pop(name) for name in ("evaluations", "monitored") if name in options}
    return Training(
        model=model,
        task=Classification(CrossEntropy(), CLASSES),
        optimizer=Momentum(model.parameters(), lr=lr),
        schedule=lambda step, total: 1.0,
        batches=batches,
        settings=TrainSettings(**{**settings, **options}),
        device=CPU,
        **{"evaluations": {}, **fields},
    )


class Memory:
    def __init__(self) -> None:
        self.saved: list[Checkpoint] = []

    def save(self, checkpoint: Checkpoint, best: bool) -> str:
        self.saved.append(copy.deepcopy(checkpoint))
        return "memory"


def test_the_first_step_with_a_loss_that_is_not_finite_is_named() -> None:
    events: list[Event] = []
    with pytest.raises(DivergedError, match="the training loss of step 6 is not finite"):
        events.extend(fit(training(network(), Steps(bad=(5,)), log_every=8)))
    with pytest.raises(DivergedError, match="the training loss of step 7 is not finite"):
        list(fit(training(network(), Steps(bad=(6, 7)), log_every=3)))  # a logged step lies in between


def test_weights_that_are_not_finite_are_never_saved() -> None:
    store = Memory()
    with pytest.raises(DivergedError, match="after step 1, offset of the model is not finite"):
        list(fit(training(Cliff(), Steps(), checkpoint_every="1 steps", log_every=100), store))
    assert not store.saved
    # nor does such a run of one step end well
    with pytest.raises(DivergedError):
        list(fit(training(Cliff(), Steps(), epochs=None, steps=1)))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_the_last_good_checkpoint_stays(tmp_path: Path, every: int) -> None:
    with (
        RunDirectory(tmp_path) as directory,
        pytest.raises(DivergedError, match=f"checkpoint of step {6 // every * every} is"),
    ):
        directory.open_metrics()
        run = training(network(), Steps(bad=(6,)), checkpoint_every=f"{every} steps", log_every=100)
        for event in fit(run, directory):
            directory.record(event)
    kept = checkpoint.load_checkpoint(tmp_path / "checkpoints" / "last")
    assert kept.step == 6 // every * every
    model = network()
    model.load_state_dict(kept.tensors["model"], strict=False)
    batch = next(Steps().epoch(0))
    assert F.cross_entropy(model(batch.inputs), batch.targets).isfinite()


def test_weights_with_which_nothing_is_finite_are_no_checkpoint() -> None:
    """After a step of 1e30 the weights are finite yet, and no answer is."""
    store = Memory()
    run = training(network(), Steps(), lr=1e30, checkpoint_every="1 steps", log_every=100)
    with pytest.raises(DivergedError, match="after step 1, the loss is not finite"):
        list(fit(run, store))
    assert not store.saved
    run = training(network(), Steps(), lr=1e30, epochs=None, steps=1, evaluations={"val": Steps()})
    with pytest.raises(
        DivergedError, match="evaluating val after step 1: the model's output is NaN or infinite for 32"
    ):
        list(fit(run, Memory()))


def test_a_step_that_is_not_finite_is_left_out() -> None:
    """By hand: every other step is made as if the bad ones were not there, running statistics included."""
    bad = (2, 3, 6)
    mine, theirs = network(), network()
    events = list(fit(training(mine, Steps(bad), on_nan="skip", log_every=2, ema=0.5), Memory()))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    losses: dict[int, float] = {}
    for step, (inputs, targets) in enumerate(map(Batch.tensors, Steps(bad).epoch(0))):
        if step in bad:
            continue
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(inputs), targets)
        loss.backward()
        optimizer.step()
        losses[step] = loss.item()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.step, last.skipped) == (8, 3)
    logged = {
        event.step: event.metrics["train/loss"] for event in events if isinstance(event, StepDone) and event.metrics
    }
    # the steps logged are 2, 4, 6 and 8: of 3 and 4 neither was made, of 7 and 8 only the latter
    expected = {2: (losses[0] + losses[1]) / 2, 6: (losses[4] + losses[5]) / 2, 8: losses[7]}
    assert logged == pytest.approx(expected, rel=1e-5)


def test_a_run_of_which_every_step_is_left_out_fails() -> None:
    with pytest.raises(DivergedError, match="none of the 8 steps had a finite loss and gradient"):
        list(fit(training(network(), Steps(bad=tuple(range(8))), on_nan="skip")))


def test_resuming_a_run_that_left_steps_out_is_exact() -> None:
    def run() -> Training:
        return training(network(), Steps(bad=(2, 5)), on_nan="skip", checkpoint_every="1 steps", ema=0.9, log_every=3)

    whole, store = run(), Memory()
    events = list(fit(whole, store))
    for saved in store.saved:
        resumed, again = run(), Memory()
        rest = list(fit(resumed, again, saved))
        assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
        steps = [event for event in events if isinstance(event, StepDone) and event.step > saved.step]
        assert [event for event in rest if isinstance(event, StepDone)] == steps
        for last in again.saved[-1:]:
            assert all(torch.equal(v, store.saved[-1].tensors["ema"][k]) for k, v in last.tensors["ema"].items())


def test_what_is_not_finite_is_found() -> None:
    good = {"big": torch.full((3,), 3e38), "half": torch.ones(2, dtype=torch.float16), "count": torch.tensor(3)}
    assert first_not_finite(good) is None  # the sum of squares would overflow
    assert first_not_finite({}) is None
    for value in (math.nan, math.inf, -math.inf):
        bad = torch.zeros(5, dtype=torch.bfloat16)
        bad[3] = value
        assert first_not_finite({**good, "bad": bad, "worse": bad}) == "bad"


# ------------------------------------------------------------------ answers


class Table(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.vocabulary = logits.shape[1]

    def forward(self, rows: Tensor, *_: Any) -> Tensor:
        return self.logits[rows]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_answer_is_no_class(value: float) -> None:
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [9, 0, 0], [9, 0, 0]])
    targets = torch.tensor([0, 1, 0, 0])
    logits[2:, 0] = value  # of class 0, which argmax would say
    meter = ClassificationMeter(Classification(CrossEntropy(), CLASSES), CPU)
    evaluate_model(Table(logits), [ClassificationBatch(torch.arange(4), targets)], meter)
    assert int(meter.correct) == 2
    with pytest.raises(NotFiniteError, match="NaN or infinite for 2 of 4 samples"):
        meter.metrics()


def test_no_prediction_is_no_token_and_no_number() -> None:
    meter = LanguageMeter(CausalLM(CrossEntropy()), CPU)
    logits = torch.zeros(1, 4, 3)
    logits[0, 1] = math.nan
    evaluate_model(Table(logits), [CausalBatch(torch.arange(1), torch.tensor([0, 0, -100, 1]))], meter)
    with pytest.raises(NotFiniteError, match="NaN or infinite for 1 of 3 tokens"):
        meter.metrics()
    numbers = Regression(torch.nn.Identity()).meter(CPU)
    outputs = torch.tensor([[1.0], [math.nan], [3.0]])
    rows, mask = torch.arange(3), torch.ones(3, 1, dtype=torch.bool)
    evaluate_model(Table(outputs), [TextBatch(rows, torch.tensor([1.0, 2.0, 3.0]), None, mask)], numbers)
    with pytest.raises(NotFiniteError, match="NaN or infinite for 1 of 3 samples"):
        numbers.metrics()


def test_a_score_that_is_no_number_ranks_nowhere() -> None:
    meter = ScoreMeter()
    logits = torch.randn(6, 3)
    logits[4, 1] = math.nan
    evaluate_model(Table(logits), [ClassificationBatch(torch.arange(6), torch.zeros(6))], meter)
    with pytest.raises(NotFiniteError, match="NaN or infinite for 1 of 6 images"):
        meter.scores()
    with pytest.raises(NotFiniteError, match="1 of 5 scores are NaN"):
        separation(torch.tensor([math.nan, 1.0]), torch.tensor([0.0, 0.5, 0.2]))


def test_metrics_that_are_not_finite_are_named() -> None:
    require_finite_metrics({"loss": 1.0, "accuracy": 0.0})
    with pytest.raises(NotFiniteError, match="not a finite number: loss is inf, ece is nan"):
        require_finite_metrics({"loss": math.inf, "accuracy": 0.0, "ece": math.nan})
    with pytest.raises(NotFiniteError, match="pearson is nan") as caught:
        require_finite_metrics({"loss": 1.0, "pearson": math.nan})
    assert "all outputs or all targets are equal" in str(caught.value.hint)
