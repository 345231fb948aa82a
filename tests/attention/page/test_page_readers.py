"""Whoever reads it: in the dark, on paper, in a narrow window, by ear; in a real browser.

pytest -m browser tests/attention/page/test_page_readers.py
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.attention.page.opened_page import IN_BROWSER, Opened

pytestmark = IN_BROWSER


@pytest.mark.parametrize("preferred", ["light", "dark"])
def test_light_and_dark(view: Callable[..., Opened], preferred: str) -> None:
    opened = view(context={"color_scheme": preferred})
    ground = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number))"
    assert (opened.page.evaluate(ground) > 128) is (preferred == "light")
    opened.press("t")
    assert (opened.page.evaluate(ground) > 128) is (preferred == "dark")
    opened.page.click("#theme")
    assert (opened.page.evaluate(ground) > 128) is (preferred == "light")


def test_it_prints_light_and_without_controls(view: Callable[..., Opened]) -> None:
    opened = view(context={"color_scheme": "dark"})
    assert opened.page.pdf().startswith(b"%PDF")
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not opened.page.locator(".tools").is_visible()
    assert opened.page.locator("#heads").is_visible()
    corner = "[...document.querySelector('#heads canvas').getContext('2d').getImageData(0, 0, 7, 7).data]"
    assert max(np.array(opened.page.evaluate(corner)).reshape(-1, 4)[:, :3].min(1)) > 100


def test_a_narrow_window_has_no_sideways_scroll(view: Callable[..., Opened]) -> None:
    opened = view(60)
    opened.page.set_viewport_size({"width": 400, "height": 800})
    for key in "123":
        opened.press(key)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_without_motion_nothing_moves(view: Callable[..., Opened]) -> None:
    opened = view(context={"reduced_motion": "reduce"})
    durations = opened.page.evaluate(
        "[...document.querySelectorAll('*')].map(one => getComputedStyle(one).transitionDuration)"
    )
    assert set(durations) == {"0s"}


def test_every_control_has_a_name(view: Callable[..., Opened]) -> None:
    opened = view(models=2)
    for key in "123":
        opened.press(key)
        tree = opened.page.locator("body").aria_snapshot()
        named = re.compile(
            r"^\s*- (button|combobox|searchbox|slider|listbox|option|radio|radiogroup|application)(:|$)", re.MULTILINE
        )
        assert not named.findall(tree), tree


def test_a_damaged_page_says_so(view: Callable[..., Opened], browser: Any, tmp_path: Path) -> None:
    view()
    text = (tmp_path / "page.html").read_text("utf-8")
    (tmp_path / "cut.html").write_text(re.sub(r'(id="thumbs">).{20}', r"\1", text), "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "cut.html").as_uri())
    page.wait_for_selector("#alert:not([hidden])", timeout=20_000)
    assert "damaged" in page.inner_text("#alert")
    page.close()
