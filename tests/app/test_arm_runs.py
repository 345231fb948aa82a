"""The recipes of an experiment's arms leave nothing to timing, and nothing of what was written out."""

from __future__ import annotations

from pathlib import Path

from dlkit.app.arm_runs import recipes_of
from dlkit.review.claim import Arm, Experiment
from dlkit.review.expectation import parse_expectation
from dlkit.training.settings import DECIDED


def test_only_auto_is_settled(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("extends: digits-mlp\ntrain: {precision: bf16}\n")
    arms = (
        Arm("as_written", (), "mine.yaml:1", {}),
        Arm("changed", ("train.compile=on", "train.cuda_graph=auto"), "mine.yaml:2", {}),
    )
    expect = parse_expectation("as_written > changed", ["as_written", "changed"])
    found = recipes_of(Experiment(str(own), arms, "test/loss", "end", expect, 0.1, 2)).arms
    settings = {arm: [recipe.values["train"][key] for key in DECIDED] for arm, recipe in found.items()}
    assert settings == {"as_written": ["bf16", "off", "off", "off"], "changed": ["bf16", "on", "off", "off"]}
