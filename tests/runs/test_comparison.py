"""What differs between runs."""

from __future__ import annotations

import yaml

from dlkit.runs.comparison import diff_runs
from tests.runs.conftest import Made


def test_recipes_metrics_and_environment_side_by_side(made: Made) -> None:
    one, other = made("a", lr=0.1, accuracy=0.5), made("b", lr=0.2, accuracy=None)
    environment = other / "environment.json"
    environment.write_text(
        environment.read_text().replace('"2.9"', '"2.11"').replace('"total_steps": 9', '"total_steps": 7')
    )
    found = diff_runs([one, other])
    read = [yaml.safe_load((path / "recipe.yaml").read_text()) for path in (one, other)]
    assert found["recipe"] == {"optimizer.lr": [recipe["optimizer"]["lr"] for recipe in read]}
    assert found["metrics"]["test/accuracy"] == [0.5, None]
    assert found["metrics"]["val/loss"] == [None, 1.5]
    assert found["environment"] == {"packages.torch": ["2.9", "2.11"]}
    assert found["state"] == ["done", "resumable"]
