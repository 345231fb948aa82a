"""What the headers of recipes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlkit import recipe
from dlkit.recipe.header import read_header


@pytest.mark.parametrize(
    ("result", "seconds"),
    [("0.99 (n = 5), 14 s of training", 14), ("0.8; 8 min 29 s with evaluation, 1,571 images/s", 509), ("none", None),
     ("0.9, 2 h 5 min", 7500), ("in 263 s (268, 261, 260)", 263), ("n = 3 with seeds 0, 1, 2", None)],
)  # fmt: skip
def test_the_first_time_in_a_result(tmp_path: Path, result: str, seconds: int | None) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"# marker\n# What.\n#   dlkit train r\n# Needs: dlkit download x\n# Result: {result}\nextends: digits-mlp\n"
    )
    header = read_header(path)
    assert (header.seconds, header.data, header.task) == (seconds, "download", "image-classification")


def test_a_recipe_that_needs_nothing_takes_embedded_data_and_the_others_say_what(tmp_path: Path) -> None:
    from dlkit.catalog import DATA

    for path in recipe.shipped().values():
        header, data = read_header(path), recipe.load(str(path)).values["data"]["name"]
        assert (header.data == "embedded") == ("(embedded)" in DATA[data].help), path
        assert header.data != "download" or DATA[data].download, path
