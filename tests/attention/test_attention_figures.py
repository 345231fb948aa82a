"""Figures of attention: hostile tokens are drawn as text, and figures show what they should."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlkit.attention import figures
from dlkit.attention.figures import draw_attention
from dlkit.attention.steps_figure import draw_scores_over_steps
from dlkit.attention.token_display import display_token

_spec = util.spec_from_file_location("page_examples", Path(__file__).with_name("page") / "test_page.py")
assert _spec is not None and _spec.loader is not None
examples = util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


def comments(path: Path) -> list[str]:
    """The texts of an SVG, which matplotlib writes as comments beside their outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    return [str(node.text).strip() for node in ET.parse(path, parser).iter() if node.tag is ET.Comment]


def one_head(tokens: list[str], **keys: Any) -> tuple[Any, np.ndarray]:
    page, weights = examples.make(len(tokens))
    scores = {name: values[:, :1, :1] for name, values in page.scores.items()}
    return replace(page, tokens=tokens, layers=[3], heads=[5], scores=scores, **keys), weights[:1]


def test_hostile_tokens_are_text(tmp_path: Path) -> None:
    tokens = [*examples.HOSTILE, "$x_1$", "\\frac", "漢", "\U0001f9ff"]
    page, weights = one_head(tokens, title="".join(tokens), split=3)
    target = tmp_path / "head.svg"
    draw_attention(target, page, weights, "sink")
    texts = comments(target)  # it is well-formed XML
    for token in ("$x_1$", "\\frac", "\x1b[31m", "\u202e", "\ud83d", "\x00"):
        assert display_token(token) in texts
    assert not any("script" in node.tag for node in ET.parse(target).iter() if isinstance(node.tag, str))
    draw_attention(tmp_path / "head.png", page, weights, None)
    with Image.open(tmp_path / "head.png") as picture:
        assert picture.size[0] > 300


@pytest.mark.parametrize("sides", [1, 2])
def test_a_grid_has_every_head(tmp_path: Path, sides: int, uncut: Any) -> None:
    page, weights = examples.make(9, sides=sides)
    target = tmp_path / "grid.svg"
    draw_attention(target, page, iter(weights), "sink")
    drawn = [node for node in ET.parse(target).iter() if str(node.tag).endswith("}image")]
    assert len(drawn) >= 6 * sides
    for value in page.scores["sink"].ravel():
        assert f"{value:.2f}" in comments(target)
    draw_attention(tmp_path / "grid.png", page, iter(weights), None)
    draw_attention(tmp_path / "undefined.png", page, iter(weights), "induction")
    assert uncut() == 3
    texts = comments(target)
    assert {"head; in each matrix keys run to the right", "layer; queries run down", "attention weight"} <= set(texts)
    assert "sink (frame)" in texts
    for token in page.tokens:  # down the first column and along the last row
        assert texts.count(display_token(token)) >= 2 * sides


@pytest.mark.parametrize("tokens", [1, 100])
def test_one_token_and_many(tmp_path: Path, tokens: int, uncut: Any) -> None:
    page, weights = one_head([f"t{i}" for i in range(tokens)])
    draw_attention(tmp_path / "head.svg", page, weights, "sink")
    assert uncut() == 1
    axes = {"key: the token that is attended to", "query: the token that attends", "attention weight"}
    assert axes <= set(comments(tmp_path / "head.svg"))
    assert ("t0" in comments(tmp_path / "head.svg")) is (tokens == 1)  # a hundred names would not fit


def test_a_colour_stands_for_one_weight_in_all_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    page, weights = examples.make(9)
    draw_attention(tmp_path / "grid.svg", page, iter(weights), None)
    *_, bar = drawn[0].axes
    images = [axis.images[0] for axis in drawn[0].axes if axis.images]
    assert {image.norm.vmax for image in images} == {max(float(matrix.max()) for matrix in weights)}
    np.testing.assert_allclose(bar.get_ylim(), (0, images[0].norm.vmax))
    np.testing.assert_array_equal([image.get_array() for image in images], weights)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    page, weights = examples.make(5)
    for name in ("a.svg", "b.svg"):
        draw_attention(tmp_path / name, page, iter(weights), "sink")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_scores_over_steps(tmp_path: Path, uncut: Any) -> None:
    scores = {"induction": np.zeros((3, 2, 4)), "previous": np.full((3, 2, 4), np.nan)}
    scores["induction"][2, 1, 3] = 0.9
    draw_scores_over_steps(tmp_path / "steps.svg", [0, 10, 20], scores)
    texts = comments(tmp_path / "steps.svg")
    assert "layer 1, head 3" in texts
    assert {"induction", "previous", "layer 0", "layer 1", "head 0", "head 3"} <= set(texts)
    draw_scores_over_steps(tmp_path / "one.png", [7], {"induction": scores["induction"][:1]})
    assert uncut() == 2
