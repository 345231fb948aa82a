"""What a process computes after a training is what it computed before: denormal numbers are no zeros."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import dlkit

SMALL = 1e-320  # a denormal number
LINES = ["train.epochs=1", "train.compile=off", "model.hidden=[8]"]


def expected_divergence() -> float:
    """D((1/2, 1/2) || (SMALL, 1)) in bits, by hand: log2 of a denormal number from that of a normal one."""
    exponent = math.log2(SMALL * 2.0**100) - 100
    return 0.5 * (-1 - exponent) + 0.5 * -1


@pytest.mark.parametrize("end", ["result", "close"])
def test_a_divergence_after_training_is_right(tmp_path: Path, end: str) -> None:
    work = dlkit.train(dlkit.load("digits-mlp", *LINES), run_dir=tmp_path / "run")
    if end == "result":
        work.result()
    else:
        next(event for event in work if type(event).__name__ == "Started")
        work.close()
    assert np.float64(SMALL) * np.float64(0.5) != 0
    measured = dlkit.entropy(p=[0.5, 0.5], q=[SMALL, 1.0]).result()
    assert measured.records[0]["kl"] == pytest.approx(expected_divergence())
