"""What is drawn of one text and of two, of one token and of 512, in a real browser.

pytest -m browser tests/attention/page/test_page_views.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dlkit.attention.token_display import display_token
from tests.attention.page.opened_page import IN_BROWSER, Opened, same, strongest
from tests.attention.page.page_examples import HOSTILE

pytestmark = IN_BROWSER


def test_lines_and_matrix_show_the_weights(view: Callable[..., Opened]) -> None:
    opened = view(split=3)
    opened.press("2")
    opened.page.hover('.column[data-side="in"] [data-token="5"]')
    assert "attended to by" in opened.text("#readout h3")
    assert same(opened.listed(), strongest(opened.weights[0, 0, 0][:, 5]))
    drawn = int((opened.weights[0, 0, 0][:, 5] > 0.002).sum())
    assert opened.page.locator("#panels svg path").count() == drawn
    opened.press("3")
    box = opened.page.locator(".matrix canvas").bounding_box()
    step = box["width"] / 7
    opened.page.mouse.move(box["x"] + 2.5 * step, box["y"] + 6.5 * step)
    assert f"{opened.weights[0, 0, 0][6, 2]:.4f}" in opened.text("#readout h3")
    assert opened.page.locator(".matrix .split").count() == 2
    pixels = opened.page.evaluate(
        "[...document.querySelector('.matrix canvas').getContext('2d').getImageData(0, 0, 7, 7).data]"
    )
    light = np.array(pixels).reshape(7, 7, 4)[..., :3].sum(-1)
    # on a light ground the largest weight is the darkest
    assert np.unravel_index(light.argmin(), (7, 7)) == np.unravel_index(opened.weights[0, 0, 0].argmax(), (7, 7))


def test_two_sides_are_shown_side_by_side(view: Callable[..., Opened]) -> None:
    opened = view(models=2)
    opened.token(2).hover()
    both = strongest(opened.weights[0, 0, 0][2]) + strongest(opened.weights[1, 0, 0][2])
    assert same(opened.listed(), both)
    first, second = (opened.given.scores["sink"][side, 0, 0] for side in (0, 1))
    shown = f"{first:.2f} → {second:.2f}" if min(first, second) > 0.1 else "→"
    assert shown in opened.text("#head-scores")
    opened.press("c", "c")
    assert "change" in opened.text("#score-ends")
    opened.press("3")
    boxes = [one.bounding_box() for one in opened.page.locator(".matrix canvas").all()]
    assert len(boxes) == 2
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] or boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]


def test_one_token(view: Callable[..., Opened]) -> None:
    opened = view(tokens=1)
    for key in "123":
        opened.press(key)
    opened.press("1")
    opened.token(0).hover()
    assert opened.listed() == [(1.0, 0)]


def test_512_tokens(view: Callable[..., Opened]) -> None:
    opened = view(tokens=512, causal=True)
    opened.token(100).hover()
    error = 1e-3
    expected = opened.weights[0, 0, 0][100]
    for weight, position in opened.listed():
        assert abs(weight - expected[position]) < error
    opened.press("2")
    opened.press("3")
    assert opened.page.locator(".matrix canvas").get_attribute("width") == "512"
    opened.press("m")
    opened.page.wait_for_selector('html[data-ready="0 3"]')
    assert "largest error" in opened.text("#notes")


@pytest.mark.parametrize("key", ["1", "2", "3"])
def test_hostile_tokens_are_text(view: Callable[..., Opened], key: str) -> None:
    hostile = HOSTILE
    bad = "".join(hostile)
    opened = view(hostile, title=bad, sides=[bad], notes={bad: bad}, split=5)
    opened.press(key)
    if key != "3":
        texts = opened.page.eval_on_selector_all("#panels [data-token]", "all => all.map(one => one.textContent)")
        assert texts[: len(hostile)] == [display_token(token) for token in hostile]
        opened.token(0).hover()
        islands = opened.page.eval_on_selector_all(
            "#panels bdi", "all => all.every(one => getComputedStyle(one).unicodeBidi === 'isolate')"
        )
        assert islands
    else:
        labels = opened.page.eval_on_selector_all(".matrix .rows .label", "all => all.map(one => one.textContent)")
        assert labels == [display_token(token) for token in hostile]
    assert opened.page.evaluate("document.scripts.length") == 9  # six heads, the small pictures, the data, the script
