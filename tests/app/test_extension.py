"""More epochs for a run that has finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import dlkit
from dlkit.app.events import Remark
from dlkit.errors import RequestError
from dlkit.runs.listed_run import read_run

SHORT = ("train.epochs=1", "data.batch_size=512", "train.log_every=1", "model.hidden=[8]",
         "schedule.warmup=0")  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of one epoch: three steps, with a cosine that ends near 0."""
    recipe = dlkit.load("digits-mlp", *SHORT, "schedule.name=cosine")
    return dlkit.train(recipe, run_dir=tmp_path / "run", device="cpu").result().path


def rates(run: Path) -> list[float]:
    """The learning rate of each step."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["lr"] for line in lines if "lr" in line]


def test_it_ends_where_one_that_was_planned_so_ends(tmp_path: Path) -> None:
    """With a constant learning rate nothing depends on how long the run was planned for."""
    constant = (*SHORT, "schedule.name=constant")
    straight = dlkit.train(dlkit.load("digits-mlp", *constant, "train.epochs=3"), run_dir=tmp_path / "a", device="cpu")
    dlkit.train(dlkit.load("digits-mlp", *constant), run_dir=tmp_path / "b", device="cpu").result()
    longer = dlkit.load(str(tmp_path / "b"), "train.epochs=3")
    extended = dlkit.train(longer, resume=True, device="cpu").result()
    ends = [result.path / "checkpoints/last/model.safetensors" for result in (straight.result(), extended)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert extended.record["extended"][0]["lr"] == [0.002, 0.002]


def test_the_schedule_is_stretched_and_says_so(run: Path) -> None:
    training = dlkit.train(dlkit.load(str(run), "train.epochs=4"), resume=True, device="cpu")
    remarks = [event.text for event in training if isinstance(event, Remark)]
    # torch's own schedule over all twelve steps
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.002)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    expected: list[Any] = []
    for _ in range(12):
        expected += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates(run)[3:] == pytest.approx(expected[3:])
    before, after = rates(run)[2:4]
    assert any(f"goes on at {after:.3g}, where it had come to {before:.3g}" in text for text in remarks)
    record = training.result().record
    assert record["steps"] == 12
    assert record["extended"] == [
        {
            "step": 3,
            "epochs": [1, 4],
            "total_steps": [3, 12],
            "schedule": "cosine",
            "lr": pytest.approx([before, after]),
        }
    ]
    assert dlkit.load(str(run)).values["train"]["epochs"] == 4


def test_until_its_end_it_is_no_finished_run(run: Path) -> None:
    with dlkit.train(dlkit.load(str(run), "train.epochs=3"), resume=True, device="cpu") as training:
        for event in training:
            if isinstance(event, dlkit.StepDone):
                break
    listed = read_run(run)
    assert (listed.state, listed.step, listed.more["total_steps"]) == ("resumable", 4, 9)
    record = dlkit.train(str(run), resume=True, device="cpu").result().record
    assert (record["steps"], len(record["extended"])) == (9, 1)
    assert read_run(run).state == "done"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["train.epochs=1", "optimizer.lr=0.1"], "optimizer.lr is 0.002 in the run, now 0.1"),
        (["train.steps=100"], "train.steps=100: the length of .* is counted in epochs"),
    ],
)
def test_bad_extensions(run: Path, changes: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        dlkit.train(dlkit.load(str(run), *changes), resume=True, device="cpu")


def test_a_run_is_not_made_shorter(run: Path) -> None:
    dlkit.train(dlkit.load(str(run), "train.epochs=2"), resume=True, device="cpu").result()
    with pytest.raises(RequestError, match=r"train.epochs=1: .* was planned for 2 epochs"):
        dlkit.train(dlkit.load(str(run), "train.epochs=1"), resume=True, device="cpu")


def test_more_epochs_change_nothing_where_patience_ended_the_run(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"stopped_by": "patience"}))
    with pytest.raises(RequestError, match=r"stopped by train.patience"):
        dlkit.train(dlkit.load(str(run), "train.epochs=2"), resume=True, device="cpu")
