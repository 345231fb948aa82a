"""Texts from the shell that are too short to learn from, and one that is just long enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_texts_that_cannot_be_learned(here: Any, tmp_path: Path) -> None:
    base = ["train", "text-gpt", "train.steps=1", "--run-dir", str(tmp_path / "r")]
    for content, message in ((b"", "is empty"), (b"x", "too few"), (b"\xff" * 100, "is not UTF-8")):
        (tmp_path / "t.txt").write_bytes(content)
        result = here(*base, f"data.path={tmp_path / 't.txt'}")
        assert result.code == 1
        assert message in result.err


def test_a_text_of_one_line_is_learned(here: Any, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abc" * 40_000)
    result = here(
        "train", "text-gpt", "train.steps=2", f"data.path={tmp_path / 't.txt'}", "--run-dir", str(tmp_path / "r")
    )
    assert result.code == 0, result.err
