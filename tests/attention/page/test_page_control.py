"""Tokens and heads by pointer and by keyboard, in a real browser.

pytest -m browser tests/attention/page/test_page_control.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attention.page.opened_page import IN_BROWSER, Opened, same, strongest

pytestmark = IN_BROWSER


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
