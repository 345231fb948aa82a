"""Train a GPT of two layers on random strings that repeat, and watch an induction head form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def dlkit(*arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dlkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.slow
def test_an_induction_head_forms(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    dlkit("train", "repeats-gpt", "--run-dir", run, "-q")
    picture = tmp_path / "steps.svg"
    found = dlkit("inspect-attention", run, "--steps", "--random-from", LETTERS, "--svg", str(picture))
    *records, jump = map(json.loads, found.splitlines())
    heads = [each for each in records if each["kind"] == "head"]
    last = max(each["step"] for each in heads)
    best = max((each for each in heads if each["step"] == last), key=lambda each: each["induction"])
    assert best["induction"] > 0.5
    assert best["null_shuffled"]["induction"] < 0.1
    assert best["null_untrained"]["induction"] < 0.1
    assert "induction" in best["above"]
    course = [each["induction"] for each in heads if (each["layer"], each["head"]) == (best["layer"], best["head"])]
    assert course[0] < 0.1
    assert (jump["layer"], jump["head"]) == (best["layer"], best["head"])
    assert jump["after"] - jump["before"] > 0.15
    assert picture.read_text().startswith("<?xml")
    differences = [each["difference"] for each in records if each["kind"] == "check"]
    assert max(differences) <= 1e-5
    # without it, copying fails
    silent = map(json.loads, dlkit("inspect-attention", run, "qwertyuiop" * 4, "--ablate").splitlines())
    worst = max((each for each in silent if each["kind"] == "head"), key=lambda each: each["ablation"])
    assert worst["ablation"] > 1
