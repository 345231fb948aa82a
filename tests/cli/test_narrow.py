"""Whatever the width of the terminal, every number that a table holds is there whole."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from dlkit.app.trained_run import Started
from dlkit.cli.narrow import bar, fit_width, packed
from dlkit.cli.train.view import TrainingView
from dlkit.training.events import Evaluated, StepDone


def printed(shown: Any, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(fit_width(shown, console))
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def race() -> Table:
    columns = ["optimizer", "best lr", "val/loss", "95 % interval", "steps, s to\nval/loss=0.5"]
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row(Text("momentum", style="bold"), "0.0316*", "0.3612", "0.3489 to 0.3735", "123, 4.5")
    table.add_row(Text("adam"), "1e-05", "1.2345e-17", "-", "never")
    return table


def facts() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(Text("run", style="bold"), Text("runs/a-recipe-with-a-long-name-123"))
    table.add_row(Text("val/accuracy", style="bold"), Text("0.9876"))
    table.add_row(Text("steps"), Text("1,234,567 (12.5 epochs) in 98765.4 s"))
    return table


def orders() -> Table:
    table = Table("order", "entropy (bits)", "Miller-Madow", "contexts", box=None, pad_edge=False)
    table.add_row("0", "2.284159", "2.584721", "1")
    return table


@pytest.mark.parametrize("width", [20, 24, 30, 36, 38, 39, 40, 41, 44, 50, 60, 80, 120])
@pytest.mark.parametrize("make", [race, facts, orders, lambda: Group(facts(), Text(), race())])
def test_no_word_is_cut(make: Any, width: int) -> None:
    words = set(re.findall(r"\S+", printed(make(), 500)))
    text = printed(make(), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for word in words:
        if len(word) <= width:
            assert word in re.findall(r"\S+", text), (word, text)
        else:  # it goes on in the next line
            assert word in text.replace("\n", "")


def test_what_fits_is_a_table_as_before() -> None:
    lines = printed(race(), 80).splitlines()
    assert lines[1].split() == ["optimizer", "best", "lr", "val/loss", "95", "%", "interval", "val/loss=0.5"]
    assert lines[2].split() == ["momentum", "0.0316*", "0.3612", "0.3489", "to", "0.3735", "123,", "4.5"]
    assert printed(race(), 30).splitlines()[:3] == ["optimizer  momentum", "  best lr  0.0316*", "  val/loss  0.3612"]


def test_facts_stay_whole() -> None:
    assert packed(["loss 0.1234", "accuracy 0.5000", "lr 0.001"], 40) == ["loss 0.1234  accuracy 0.5000  lr 0.001"]
    assert packed(["loss 0.1234", "accuracy 0.5000", "lr 0.001"], 30) == ["loss 0.1234  accuracy 0.5000", "lr 0.001"]
    assert packed(["a fact that is longer"], 5) == ["a fact that is longer"]
    for width in (20, 40, 80):
        text = printed(bar("epoch 12/300  step 123456/1234567", 0.1, "10:23:12 left", width), width)
        assert "…" not in text
        assert {"123456/1234567", "10:23:12"} <= set(text.split())


def started(steps: int, steps_per_epoch: int) -> Started:
    return Started(Path("run"), "title", "cpu", "fp32", 1, steps, steps_per_epoch, 0, "samples")


@pytest.mark.parametrize("width", [24, 40, 80])
def test_the_live_view_cuts_no_number(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=True)
    view = TrainingView(started(1_000_000, 1000), console, lambda text: None)
    metrics = {"train/loss": 0.3612, "train/accuracy": 0.8812}
    view.update(StepDone(123_456, 123, 64, 0.000123, metrics))
    view.update(Evaluated(123_456, 123, {"val/loss": 0.4321, "val/accuracy": 0.9012, "val/ece": 0.0123}, True))
    text = printed(view.render(), width)
    assert "…" not in text
    assert {"0.3612", "0.8812", "0.4321", "0.9012", "0.0123", "0.000123", "123456/1000000"} <= set(text.split())


def test_the_last_line_comes_once_with_the_numbers_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 20))  # every event comes long after the one before
    monkeypatch.setattr("dlkit.cli.train.view.time.monotonic", lambda: float(next(now)))
    lines: list[str] = []
    view = TrainingView(started(4, 2), None, lines.append)
    for step in range(1, 5):
        view.update(StepDone(step, (step - 1) // 2, 8, 0.1, {"train/loss": 1 / step}))
        if step % 2 == 0:
            view.update(Evaluated(step, (step - 1) // 2, {"val/loss": 2 / step}, True))
    last = [line for line in lines if "step 4/4" in line]
    assert len(last) == 1
    assert "val/loss 0.5000" in last[0]
    (third,) = [line for line in lines if "step 3/4" in line]
    assert "val/loss 1.0000  (of step 2)" in third  # a number says of when it is
