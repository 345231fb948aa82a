"""The page in a real browser: from a file, offline, with pointer and keyboard.

pytest -m browser tests/attention/page/test_page_browser.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.attention.page import AttentionPage, write_page
from dlkit.attention.token_display import display_token

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium"),
]

_spec = util.spec_from_file_location("page_examples", Path(__file__).with_name("test_page.py"))
assert _spec is not None and _spec.loader is not None
examples = util.module_from_spec(_spec)
_spec.loader.exec_module(examples)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, headless=True)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page in the browser and the matrices that it was made of, (sides, layers, heads, T, T)."""

    page: Any
    weights: np.ndarray
    given: AttentionPage

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def head(self) -> str:
        return self.page.get_attribute("html", "data-ready")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def token(self, position: int) -> Any:
        return self.page.locator(f'#panels [data-token="{position}"]').first

    def listed(self) -> list[tuple[float, int]]:
        """Weights and positions of the tokens in the list of the strongest."""
        found = [
            re.fullmatch(r"(\S+)\s+.*?(\d+)\s*", row, re.DOTALL)
            for row in self.page.locator("#readout li").all_inner_texts()
        ]
        return [(float(match[1]), int(match[2])) for match in found if match]


@pytest.fixture
def view(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Writes a page and opens it from its file, offline; fails on any error in the console."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def go(
        tokens: int | list[str] = 7,
        models: int = 1,
        causal: bool = False,
        context: dict[str, Any] | None = None,
        **keys: Any,
    ) -> Opened:
        names = [f"t{i}" for i in range(tokens)] if isinstance(tokens, int) else tokens
        given, weights = examples.make(len(names), models, causal)
        given = replace(given, tokens=names, **keys)
        target = tmp_path / "page.html"
        write_page(target, given, iter(weights))
        contexts.append(browser.new_context(viewport={"width": 1300, "height": 900}, **(context or {})))
        contexts[-1].set_offline(True)
        contexts[-1].route(
            re.compile("^(?!file:)"), lambda route: (complaints.append(route.request.url), route.abort())
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(target.as_uri())
        page.wait_for_selector("html[data-ready]")
        return Opened(page, weights.reshape(models, 2, 3, len(names), len(names)), given)

    yield go
    for context in contexts:
        context.close()
    assert not complaints


def strongest(values: np.ndarray) -> list[tuple[float, int]]:
    order = np.argsort(-values, kind="stable")[:6]
    return [(float(values[i]), int(i)) for i in order if values[i] > 0]


def same(listed: list[tuple[float, int]], expected: list[tuple[float, int]]) -> bool:
    return [i for _, i in listed] == [i for _, i in expected] and np.allclose(
        [weight for weight, _ in listed], [weight for weight, _ in expected], atol=6e-5
    )


@pytest.mark.parametrize("causal", [False, True])
def test_hover_shows_what_a_token_attends_to_and_what_attends_to_it(view: Callable[..., Opened], causal: bool) -> None:
    opened = view(causal=causal)
    opened.token(4).hover()
    assert same(opened.listed(), strongest(opened.weights[0, 0, 0][4]))
    opened.page.click("text=is attended to by")
    opened.token(2).hover()
    assert same(opened.listed(), strongest(opened.weights[0, 0, 0][:, 2]))
    shades = opened.page.eval_on_selector_all("#panels .token", "all => all.map(one => one.style.backgroundColor)")
    assert len(set(shades)) > 3


def test_click_holds_a_token_and_escape_lets_go(view: Callable[..., Opened]) -> None:
    opened = view()
    opened.token(3).click()
    opened.token(5).hover()
    assert same(opened.listed(), strongest(opened.weights[0, 0, 0][3]))
    opened.press("Escape")
    opened.token(6).hover()
    assert same(opened.listed(), strongest(opened.weights[0, 0, 0][6]))


def test_click_on_a_head_and_the_mean_of_heads(view: Callable[..., Opened]) -> None:
    opened = view()
    assert opened.text("#head-title") == "Layer 0, head 1"
    opened.page.click('[aria-label^="Layer 4, head 5"]')
    opened.page.wait_for_selector('html[data-ready="1 2"]')
    assert opened.text("#head-title") == "Layer 4, head 5"
    assert opened.page.get_attribute('[aria-label^="Layer 4, head 5"]', "aria-selected") == "true"
    opened.press("m")
    opened.page.wait_for_selector('html[data-ready="1 3"]')
    opened.token(1).hover()
    assert same(opened.listed(), strongest(opened.weights[0, 1].mean(0)[1]))
    opened.press("m")
    opened.page.wait_for_selector('html[data-ready="1 2"]')


def test_heads_are_sorted_and_filtered_by_score(view: Callable[..., Opened]) -> None:
    opened = view()
    scores = opened.given.scores["sink"][0]
    labels = "#heads [role=option]"

    def order() -> list[str]:
        found = opened.page.eval_on_selector_all(labels, "all => all.map(one => one.getAttribute('aria-label'))")
        return [label.split(":")[0] for label in found]

    ranked = sorted(
        ((scores[layer, h], f"Layer {[0, 4][layer]}, head {[1, 2, 5][h]}") for layer in range(2) for h in range(3)),
        reverse=True,
    )
    opened.page.select_option("#order", "high")
    assert order() == [name for _, name in ranked]
    opened.page.select_option("#order", "low")
    assert order() == [name for _, name in reversed(ranked)]
    opened.page.select_option("#bound", "least")
    middle = (scores.min() + scores.max()) / 2
    assert order() == [name for score, name in reversed(ranked) if score >= middle]
    assert "heads pass the filter" in opened.text("#count")
    opened.page.select_option("#order", "layer")
    faint = opened.page.locator("#heads .cell.out").count()
    assert faint == int((scores < middle).sum())
    opened.press("Tab")
    opened.page.select_option("#measure", "induction")  # undefined everywhere: nothing passes
    assert opened.page.locator("#heads .cell.out").count() == 6


def test_search_finds_tokens_one_after_the_other(view: Callable[..., Opened]) -> None:
    opened = view(tokens=["The", " cat", "<b>", " the", "\u202ecat"] + ["x"] * 2)
    opened.press("/")
    opened.page.keyboard.type("the")
    assert opened.text("#found") == "2 found"
    assert opened.page.locator("#panels .token.found").count() == 2
    opened.press("Enter", "Enter")
    assert opened.text("#found") == "2 of 2"
    assert same(opened.listed(), strongest(opened.weights[0, 0, 0][3]))
    opened.page.fill("#search", " cat")
    assert opened.page.locator("#panels .token.found").count() == 1
    opened.page.fill("#search", "nowhere")
    assert opened.text("#found") == "none"


def test_everything_by_keyboard(view: Callable[..., Opened]) -> None:
    opened = view()
    opened.page.locator("#heads [tabindex='0']").focus()
    opened.press("ArrowRight", "ArrowDown")
    opened.page.wait_for_selector('html[data-ready="1 1"]')
    outline = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # the focus can be seen
    opened.press("[")
    opened.page.wait_for_selector('html[data-ready="1 0"]')
    opened.press("]", "]")
    opened.page.wait_for_selector('html[data-ready="1 2"]')
    opened.page.locator("#panels [tabindex='0']").focus()
    opened.press("ArrowRight", "ArrowRight")
    assert same(opened.listed(), strongest(opened.weights[0, 1, 2][2]))
    opened.press("d")
    assert same(opened.listed(), strongest(opened.weights[0, 1, 2][:, 2]))
    opened.press("d", "2")
    assert opened.page.locator("#panels svg path").count() > 0
    opened.press("3")
    opened.page.locator("#panels .frame").focus()
    opened.press("Escape", "ArrowDown", "ArrowDown", "ArrowRight")
    row, column = 1, 1  # the first arrow enters at 0, 0
    assert f"{opened.weights[0, 1, 2][row, column]:.4f}" in opened.text("#readout h3")
    opened.press("?")
    assert opened.page.locator("#help").is_visible()
    opened.press("Escape")
    assert not opened.page.locator("#help").is_visible()


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
    hostile = examples.HOSTILE
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
