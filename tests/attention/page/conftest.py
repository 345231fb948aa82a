"""A browser, and pages that are opened in it from their files, offline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlkit.attention.page import write_page
from tests.attention.page import page_examples
from tests.attention.page.opened_page import CHROMIUM, Opened

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, headless=True)
        yield browser
        browser.close()


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
        given, weights = page_examples.make(len(names), models, causal)
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
