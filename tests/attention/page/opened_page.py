"""A page that is open in a browser, and what it is to show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.attention.page import AttentionPage

CHROMIUM = Path("/usr/bin/chromium")
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium"),
]


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


def strongest(values: np.ndarray) -> list[tuple[float, int]]:
    order = np.argsort(-values, kind="stable")[:6]
    return [(float(values[i]), int(i)) for i in order if values[i] > 0]


def same(listed: list[tuple[float, int]], expected: list[tuple[float, int]]) -> bool:
    return [i for _, i in listed] == [i for _, i in expected] and np.allclose(
        [weight for weight, _ in listed], [weight for weight, _ in expected], atol=6e-5
    )
