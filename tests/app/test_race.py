"""A race from Python: equal to what the command prints, and to torch's own optimizer where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import dlkit
from dlkit.cli.app import run as command
from dlkit.sweep import surfaces

SETTINGS = {"optimizers": "sgd,momentum", "lr": "0.001:0.1:3", "steps": 20}


@pytest.fixture(autouse=True)
def in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_race_is_what_the_command_prints(capfd: pytest.CaptureFixture[str]) -> None:
    words = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
    assert command(["compare-optimizers", "quadratic:10", *words]) == 0
    printed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    race = dlkit.compare_optimizers("quadratic:10", **SETTINGS).result()  # pyright: ignore
    assert capfd.readouterr() == ("", "")
    losses = [outcome.loss for outcome in race.outcomes]
    assert losses == [record["loss"] for record in printed if record["kind"] == "run"]
    assert (race.winner, race.stopped) == (printed[-1]["winner"], False)


def test_a_walk_down_a_surface_is_that_of_torch() -> None:
    race = dlkit.compare_optimizers("rosenbrock", optimizers="sgd", lr="0.001", steps=30).result()
    surface = surfaces.find_surface("rosenbrock")
    assert surface is not None
    theta = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=0.001)
    for _ in range(30):
        optimizer.zero_grad()
        surface.function(theta[0], theta[1]).backward()
        optimizer.step()
    (outcome,) = race.outcomes
    assert outcome.loss == pytest.approx(surface.function(theta[0], theta[1]).item(), rel=1e-12)


def test_a_race_that_is_left_goes_on_with_what_its_folder_holds() -> None:
    seen: list[float] = []
    for event in dlkit.compare_optimizers("quadratic:10", **SETTINGS, out="race"):  # pyright: ignore
        if isinstance(event, dlkit.RaceStarted):
            assert (event.runs, event.steps) == (6, 20)
        elif hasattr(event, "loss"):
            seen.append(event.loss)  # pyright: ignore
            if len(seen) == 2:
                break
    going_on = dlkit.compare_optimizers("quadratic:10", **SETTINGS, out="race", resume=True)  # pyright: ignore
    started = [event for event in going_on if isinstance(event, dlkit.RaceStarted)]
    assert [event.runs for event in started] == [4]
    assert [outcome.loss for outcome in going_on.result().outcomes][:2] == seen


def test_its_folder_is_that_of_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    race = dlkit.compare_optimizers("rosenbrock", **SETTINGS, target="loss=1", out="here").result()  # pyright: ignore
    assert capfd.readouterr() == ("", "")
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    assert command(["compare-optimizers", "rosenbrock", *options, "--target", "loss=1", "--out", "there"]) == 0
    assert sorted(path.name for path in Path("here").iterdir()) == sorted(path.name for path in Path("there").iterdir())
    written, printed = (json.loads(Path(path, "summary.json").read_text()) for path in ("here", "there"))
    for summary in (written, printed):
        for record in summary["optimizers"]:
            del record["seconds_to_target"]
    assert written == printed
    assert written["verdict"]["winner"] == race.winner
    assert [record["lr"] for record in written["optimizers"]] == [record["lr"] for record in race.report.records]


def test_should_stop_ends_a_race() -> None:
    race = dlkit.compare_optimizers("quadratic:10", **SETTINGS, should_stop=lambda: True).result()  # pyright: ignore
    assert (race.outcomes, race.stopped, race.planned) == ([], True, 6)


def test_wrong_requests_are_refused_before_anything_is_written() -> None:
    with pytest.raises(dlkit.RequestError, match="no optimizer 'sdg'"):
        dlkit.compare_optimizers("quadratic:10", optimizers="sdg", out="race")
    with pytest.raises(dlkit.RequestError, match="is about a recipe"):
        dlkit.compare_optimizers("quadratic:10", ["seed=1"], out="race")
    assert not Path("race").exists()
