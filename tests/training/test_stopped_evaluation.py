"""A run that is asked to stop while it evaluates stops there, and is evaluated when it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.data.batch import ClassificationBatch
from dlkit.storage.run_reference import checkpoint_name
from dlkit.training.checkpoint import Checkpoint, restore_replaced, save_checkpoint
from dlkit.training.events import Evaluated, Event, Finished
from dlkit.training.loop import fit
from dlkit.training.training import Training
from tests.training.small_run import Memory, Rows, assert_same_weights, network, training


class Watched(Rows):
    """Evaluation data of 20 batches that draws random numbers, and says which batches were asked for."""

    def __init__(self) -> None:
        super().__init__(2, 40)
        self.read: list[int] = []

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        for index, batch in enumerate(super().epoch(number, start)):
            self.read.append(index)
            torch.rand(1)
            yield batch


def run_with(watched: Watched, stop_after: int) -> Training:
    """A run of 15 steps, with dropout, that is evaluated after each 5, and asked to stop after so many batches."""
    return training(
        network(dropout=0.5), evaluations={"val": watched}, monitored="val", eval_every="5 steps", log_every=2,
        should_stop=lambda: len(watched.read) > stop_after,
    )  # fmt: skip


def evaluations(events: list[Event]) -> list[Evaluated]:
    return [event for event in events if isinstance(event, Evaluated)]


@pytest.mark.parametrize(("stop_after", "step"), [(3, 5), (23, 10), (43, 15)])
def test_it_stops_before_the_next_batch_and_goes_on_as_if_it_had_not(stop_after: int, step: int) -> None:
    whole, store, watched = run_with(Watched(), 1000), Memory(), Watched()
    expected = list(fit(whole, Memory()))
    first = list(fit(run_with(watched, stop_after), store))
    assert len(watched.read) == stop_after + 1
    assert isinstance(first[-1], Finished)
    assert (first[-1].reason, first[-1].step) == ("stopped", step)
    assert store.saved[-1].step == step

    resumed = run_with(Watched(), 1000)
    second = list(fit(resumed, Memory(), store.saved[-1]))
    assert isinstance(second[-1], Finished)
    assert second[-1].reason == "done"
    assert [event.step for event in evaluations(first + second)] == [5, 10, 15]
    assert evaluations(first + second) == evaluations(expected)
    assert_same_weights(whole.model, resumed.model, 0.0)


def test_a_run_that_is_out_of_patience_after_it_goes_no_further() -> None:
    def run(watched: Watched, stop_after: int) -> Training:
        return training(
            network(), evaluations={"val": watched}, monitored="val", monitor="loss", eval_every="5 steps",
            schedule=lambda step, total: 0.0, patience=1, should_stop=lambda: len(watched.read) > stop_after,
        )  # fmt: skip

    store = Memory()
    list(fit(run(Watched(), 23), store))  # in the second evaluation, which is no better than the first
    last = list(fit(run(Watched(), 1000), Memory(), store.saved[-1]))[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.step) == ("patience", 10)


def saved(folder: Path, value: float) -> None:
    save_checkpoint(folder, Checkpoint(5, {"model": {"weight": torch.tensor([value])}}, {}))


def test_a_kill_while_a_checkpoint_is_replaced_leaves_the_earlier_one(tmp_path: Path, killed: Any) -> None:
    count = 0
    while True:
        folder = tmp_path / str(count)
        saved(folder, 1.0)
        was_killed = killed(count, lambda folder=folder: saved(folder, 2.0))
        restore_replaced(folder)
        assert (folder / checkpoint_name(5) / "manifest.json").is_file(), count
        if not was_killed:
            break
        count += 1
    assert count > 5
    assert [path.name for path in folder.iterdir()] == [checkpoint_name(5)]
