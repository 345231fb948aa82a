"""The page of a race: whole, self-contained, readable on a telephone and at night."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dlkit.plotting import BLACK, BLUE, make_axes, save_figure
from dlkit.sweep.report import ReportTable, write_report

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "<script>alert(1)</script> & $x^$"


class Outline(HTMLParser):
    """What a page has: the attributes of each tag, and the texts within captions and cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, list[dict[str, str | None]]] = {}
        self.texts: dict[str, list[str]] = {}
        self.within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.setdefault(tag, []).append(dict(attrs))
        self.within = tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.within, []).append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    drawn: list[tuple[Path, str]] = []
    for name in ("one", "two"):
        figure, axis = make_axes(4.8, 3.0)
        axis.plot([0, 1], [0, 1], color=BLACK, label="black")
        axis.plot([0, 1], [1, 0], color=BLUE, label="blue", marker="o", markeredgecolor="white")
        axis.legend()
        save_figure(figure, folder / f"{name}.svg")
        drawn.append((folder / f"{name}.svg", f"What {name} shows {HOSTILE}"))
    columns = ["optimizer", *(f"a column that is wide {number}" for number in range(6))]
    table = ReportTable("The best", columns, [["sgd", *(1.5 for _ in range(6))], [HOSTILE, *(2 for _ in range(6))]])
    grid = ReportTable("loss at each learning rate, seeds 0 to 4", ["lr", "sgd"], [["0.1", "1.5"], ["1", "diverged"]])
    facts = [("seeds", "5"), ("packages", "torch 2.0, numpy 2.0"), ("repeat", "dlkit compare-optimizers " + "x" * 200)]
    write_report(
        folder / "report.html", f"Optimizers on {HOSTILE}", "sgd is best", table, drawn, ["a note"], grid, facts,
        "optimizer: {lr: 0.1}  # " + "y" * 300,
    )  # fmt: skip
    return folder / "report.html"


def test_everything_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = Outline(text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in found.tags["meta"]
    assert len(found.tags["svg"]) == len(found.tags["figcaption"]) == 2
    assert [svg["aria-label"] for svg in found.tags["svg"]] == found.texts["figcaption"]
    captions = [table["aria-label"] for table in found.tags["table"] if "aria-label" in table]
    assert captions == ["The best", "loss at each learning rate, seeds 0 to 4"]
    assert set(captions) <= set(found.texts["p"])
    assert {"5", "torch 2.0, numpy 2.0", "diverged"} <= set(found.texts["td"])
    assert found.texts["summary"] == ["Its recipe"] and found.texts["pre"][0].startswith("optimizer: {lr: 0.1}")
    assert "script" not in found.tags and html.escape(HOSTILE) in text
    ids = [match[1] for match in re.finditer(r'\bid="([^"]+)"', text)]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', text):
        assert reference in ids


def test_black_and_white_are_those_of_the_page(page: Path) -> None:
    drawing = page.read_text(encoding="utf-8").partition("<svg")[2]
    assert "#000000" not in drawing and "#ffffff" not in drawing
    assert "stroke: currentColor" in drawing and "fill: var(--page)" in drawing and "#0072b2" in drawing


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags, headless=True)
        yield browser
        browser.close()


# The least contrast of what a selector finds with what is behind it (WCAG 2.2, "contrast ratio").
CONTRAST = """([selector, property]) => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((channel) => linear(channel / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = luminance(getComputedStyle(document.body).backgroundColor);
  const inks = [...document.querySelectorAll(selector)].map((node) => luminance(getComputedStyle(node)[property]));
  return Math.min(...inks.map((ink) => (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)));
}"""


@pytest.mark.browser
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_can_be_read(browser: Any, page: Path, width: int, mode: str) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=mode)
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width  # only tables move sideways
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[mode]
    for caption in opened.query_selector_all(".caption"):
        box = caption.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    for svg in opened.query_selector_all("svg"):
        box = svg.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["width"] / (4.8 * 72) * 10 >= 8  # pixels of a text of 10 points
    opened.close()


@pytest.mark.browser
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_texts_stand_out(browser: Any, page: Path, mode: str) -> None:
    opened = browser.new_page(color_scheme=mode)
    opened.goto(page.as_uri())
    texts = "h1, h2, p, td, th, figcaption, pre, summary"
    assert opened.evaluate(CONTRAST, [texts, "color"]) >= 4.5  # WCAG 2.2, 1.4.3, level AA
    assert opened.evaluate(CONTRAST, ["svg", "fill"]) >= 4.5  # the texts of a figure take its colour
    assert opened.evaluate(CONTRAST, ["svg use[style*='#0072b2']", "fill"]) >= 3  # 1.4.11, graphics
    opened.close()
