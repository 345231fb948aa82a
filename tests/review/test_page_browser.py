"""The page of a review in a real browser: pytest -m browser tests/review/test_page_browser.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.review.inline_figures import inline_figures
from dlkit.review.page import write_review_page

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium"),
]
LONG = "a_rather_long_name_of_an_arm_that_goes_on"
RECORDS: list[dict[str, Any]] = [
    {"claim": "cache-equal", "section": "BERT and GPT", "text": "A cache gives the same logits.", "kind": "property",
     "paper": "arXiv:1706.03762", "fixed": "nothing was chosen", "path": "cache-equal.yaml", "verdict": "supported",
     "deviation": 1e-16, "tolerance": 1e-10, "draws": 20, "numbers": {}},
    {"claim": "mine", "section": "Mine", "text": "Wide is better.", "kind": "arms", "paper": None, "fixed": "all of it",
     "path": "mine.yaml", "verdict": "cannot tell", "expect": "wide > narrow", "measure": "test/accuracy",
     "difference": 0.1, "low": -0.1, "high": 0.3, "level": 0.95, "smallest": 0.05, "seeds": 3, "seeds_needed": 40,
     "recipe": "digits-mlp", "changes": {"wide": [f"model.hidden={list(range(60))}"], LONG: []},
     "arms": {"wide": {"values": [0.9, 0.8, 0.7]}, LONG: {"values": [0.7, 0.8, 0.75]}}},
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, headless=True)
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    target = tmp_path / "review.html"
    figures = {"BERT and GPT": inline_figures("Activations") + inline_figures("Attention")}
    write_review_page(target, RECORDS, {"run": "today"}, figures)
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=request.param)
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda made: errors.append(made.url) if not made.url.startswith("file:") else None)
    page.goto(target.as_uri())
    yield page
    assert errors == []
    context.close()


def visible(page: Any) -> list[str]:
    return page.eval_on_selector_all("article", "all => all.filter(a => a.offsetHeight > 0).map(a => a.id)")


def test_filters_by_verdict_with_pointer_and_keyboard(page: Any) -> None:
    assert visible(page) == ["cache-equal", "mine"]
    page.click("text=? cannot tell 1")
    assert visible(page) == ["mine"]
    assert page.is_hidden("#section-0")  # a section without claims goes, too
    page.focus("button[value=supported]")
    page.keyboard.press("Enter")
    assert visible(page) == ["cache-equal"]
    assert page.get_attribute("button[value=supported]", "aria-pressed") == "true"
    assert page.text_content("[role=status]") == "1 of 2 claims are shown"
    page.keyboard.press("ArrowRight")  # along the buttons, and round their end
    assert visible(page) == ["mine"]
    page.keyboard.press("ArrowRight")
    assert visible(page) == ["cache-equal", "mine"]
    page.keyboard.press("ArrowLeft")
    page.click("nav a >> nth=0")  # a link to a section that is hidden
    assert visible(page) == ["cache-equal", "mine"]
    page.emulate_media(media="print")
    assert visible(page) == ["cache-equal", "mine"]  # paper has no buttons


def test_fits_a_phone(page: Any) -> None:
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]


def test_colours_can_be_read(page: Any) -> None:
    """A contrast of at least 4.5, as WCAG asks, of ink, soft text and every verdict on the page."""
    contrast = """name => {
      const luminance = colour => { const c = document.createElement('canvas').getContext('2d');
        c.fillStyle = colour; c.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...c.getImageData(0, 0, 1, 1).data].map(
          v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
      const style = getComputedStyle(document.documentElement), of = key => luminance(style.getPropertyValue(key));
      const [low, high] = [of('--page'), of(name)].sort((a, b) => a - b);
      return (high + .05) / (low + .05); }"""
    for name in ("--ink", "--soft", "--supported", "--not-supported", "--contradicted", "--cannot-tell"):
        assert page.evaluate(contrast, name) >= 4.5, name


def test_figures_are_seen_and_named(page: Any) -> None:
    """Each is as wide as the page lets it, has its caption as its name, and shares no id with another."""
    assert page.locator("figure svg").count() == 4
    captions = page.locator("figcaption").all_text_contents()
    for index, caption in enumerate(captions):
        figure = page.get_by_role("img", name=caption, exact=True)
        assert figure.count() == 1
        assert figure.bounding_box()["width"] > 300, index
    ids = page.eval_on_selector_all("[id]", "all => all.map(a => a.id)")
    assert len(ids) == len(set(ids))
    links = page.eval_on_selector_all("figure use", "all => all.map(a => a.getAttribute('xlink:href').slice(1))")
    assert links and set(links) <= set(ids)
    ink = page.evaluate("getComputedStyle(document.body).color")
    fills = page.eval_on_selector_all("figure text", "all => [...new Set(all.map(a => getComputedStyle(a).fill))]")
    assert ink in fills  # text of figures is light on a dark page


def test_leads_to_the_recipe_without_a_network(page: Any) -> None:
    page.click("a[href='#recipe-digits-mlp']")
    box = page.locator("#recipe-digits-mlp").bounding_box()
    assert 0 <= box["y"] < 800
    assert "task: image-classification" in page.text_content("#recipe-digits-mlp + pre")
