"""Attention on a terminal: it fits, its numbers are right, and no token steers the terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dlkit.attention.page import AttentionPage
from dlkit.cli.inspect_attention.view import head_grid, head_rows


def shown(view: Any, width: int = 80, colour: bool = False) -> str:
    file = io.StringIO()
    system = "truecolor" if colour else None
    Console(file=file, width=width, force_terminal=colour, color_system=system).print(view)
    return file.getvalue()


def page(layers: int, heads: int, sides: int = 1) -> AttentionPage:
    values = np.linspace(0, 1, sides * layers * heads).reshape(sides, layers, heads)
    values[0, 0, 0] = np.nan
    return AttentionPage("", ["a"], range(layers), range(heads), False, ["one", "two"][:sides], {"sink": values}, {})


@pytest.mark.parametrize("heads", [1, 12, 16, 25])
@pytest.mark.parametrize("width", [40, 80])
def test_a_grid_fits_and_has_every_number(heads: int, width: int) -> None:
    given = page(3, heads, sides=2)
    text = shown(head_grid(given, "sink"), width)
    assert max(map(len, text.splitlines())) <= width
    numbers = re.findall(r"[▁▂▃▄▅▆▇█] *(\.\d\d|1\.0)(?= |$)", "\n".join(text.splitlines()[1:]), re.MULTILINE)
    assert len(numbers) == 6 * heads - 1
    assert text.count("\u2013") == 1
    assert sorted(map(float, numbers)) == pytest.approx(sorted(given.scores["sink"].ravel()[1:]), abs=0.006)


def test_a_block_is_higher_for_a_larger_score() -> None:
    line = shown(head_grid(page(1, 9), "sink")).splitlines()[-1]
    assert re.findall("[▁▂▃▄▅▆▇█]", line) == list("▁▂▃▄▅▆▇█")


def test_one_head_names_the_strongest_targets() -> None:
    weights = np.array([[0.7, 0.3, 0.0], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0]], np.float32)
    lines = shown(head_rows(["it", "was", "tired"], weights, "layer 1, head 2", split=2)).splitlines()
    assert lines[0].rstrip() == "layer 1, head 2"
    assert [line.split("→")[1].split() for line in lines if "→" in line] == [
        ["it", ".70", "was", ".30"], ["tired", ".60", "was", ".30", "it", ".10"], ["tired", "1.0"],
    ]  # fmt: skip
    assert "second sentence" in lines[-2]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_hostile_and_wide_tokens_fit_and_do_nothing(width: int) -> None:
    from rich.cells import cell_len

    tokens = [
        "\x1b[31m\x1b]0;x\x07",
        "\u202eabc",
        "[bold]x[/bold]",
        "漢字" * 20,
        "👩\u200d👧",
        "e\u0301",
        "\u0301",
        "\ud83d",
        "\n",
        "",
    ]
    weights = np.full((10, 10), 0.1, np.float32)
    text = shown(head_rows(tokens, weights, "\x1b[2J title"), width)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
    assert "[bold]x" in text
    assert "⟨1B⟩[31m" in text
    assert max(map(cell_len, text.splitlines())) <= width
    assert len([line for line in text.splitlines() if "→" in line]) == 10
    coloured = shown(head_rows(tokens, weights), width, colour=True)
    assert not re.search(r"\x1b(?!\[[\d;]*m)", coloured)  # rich's own colours only


def test_a_long_text_is_cut_with_a_remark() -> None:
    lines = shown(head_rows(["x"] * 512, np.eye(512, dtype=np.float32), start=64)).splitlines()
    assert len([line for line in lines if "→" in line]) == 48
    assert "the largest of" in lines[0]
    assert lines[-1].strip() == "tokens 112 to 575 are not shown: --tokens 112:160 shows more"
    assert lines[1].lstrip().startswith("64 █")


def test_one_token() -> None:
    assert "→ hi 1.0" in shown(head_rows(["hi"], np.ones((1, 1), np.float32)))
