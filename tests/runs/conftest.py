"""Folders of runs as training leaves them, made without training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """made("digits-1", lr=0.1, accuracy=0.9) writes a finished run; accuracy=None one that was stopped at step 7."""

    def make(name: str, lr: float = 0.1, accuracy: float | None = 0.9, recipe: str = "digits", **summary: Any) -> Path:
        run = tmp_path / "runs" / name
        checkpoint = run / "checkpoints" / "step-00000007"
        checkpoint.mkdir(parents=True)
        for file, content in {
            run / "recipe.yaml": f"task: image-classification\nseed: 3\noptimizer: {{name: sgd, lr: {lr}}}\n",
            run / "environment.json": json.dumps({"recipe": recipe, "total_steps": 9, "packages": {"torch": "2.9"}}),
            run / "metrics.jsonl": '{"step": 5, "lr": 0.1, "train/loss": 2.0, "train/accuracy": 0.1}\n'
            '{"step": 6, "epoch": 0, "val/loss": 1.5, "val/accuracy": 0.25}\n'
            '{"step": 7, "lr": 0.1, "train/loss": 1.0, "train/accuracy": 0.2}\n',
            checkpoint / "state.json": json.dumps({"step": 7, "progress": {"seconds": 12.34567}}),
            checkpoint / "manifest.json": "{}",
        }.items():
            file.write_text(content, encoding="utf-8")
        (run / "checkpoints" / "last").symlink_to("step-00000007")
        if accuracy is not None:
            found = {
                "recipe": recipe,
                "steps": 9,
                "seconds": 4.5,
                "metrics": {"test/loss": 1 - accuracy, "test/accuracy": accuracy},
            }
            (run / "summary.json").write_text(json.dumps(found | summary), encoding="utf-8")
        return run

    return make
