"""compare-optimizers under torchrun: one race, as in one process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlkit

GRID = ("digits-mlp", "--optimizers", "sgd,adam", "--lr", "0.01:1:3", "--seeds", "2", "--steps", "12")
Torchrun = Callable[..., subprocess.CompletedProcess[str]]


def runs(folder: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What runs.jsonl says of each run, but for how long it took."""
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    found = {(r["optimizer"], r["lr"], r["seed"]): {**r, "seconds_share": 0} for r in lines if r["kind"] == "run"}
    assert len(found) == sum(line["kind"] == "run" for line in lines)
    return found


@pytest.mark.distributed
@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_a_race_is_that_of_one_process(torchrun: Torchrun, tmp_path: Path, engine: str) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    done = torchrun("compare-optimizers", *GRID, "--engine", engine, "--out", str(together), "--json")
    assert done.returncode == 0, done.stderr
    race = dlkit.compare_optimizers(
        "digits-mlp", optimizers="sgd,adam", lr="0.01:1:3", seeds=2, steps=12, engine=engine, out=alone, device="cpu"
    ).result()
    expected, found = runs(alone), runs(together)
    assert expected.keys() == found.keys()
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["kind"] for record in records].count("verdict") == 1
    assert sum(record["kind"] == "run" for record in records) == 12
    if engine == "loop":
        assert found == expected  # to the last bit
    for key, one in expected.items():
        assert found[key]["metrics"] == pytest.approx(one["metrics"], rel=1e-5), key
    assert records[-1]["winner"] == race.winner
    assert (together / "report.html").is_file()
    # the folder of a job is one that a single process goes on with
    again = dlkit.compare_optimizers(
        "digits-mlp", optimizers="sgd,adam", lr="0.01:1:3", seeds=2, steps=12, out=together, resume=True, device="cpu"
    ).result()
    assert not again.stopped and again.winner == race.winner
