"""The JavaScript of the page: parts that share one scope, joined into one strict function when a page is written."""

from __future__ import annotations

import textwrap
from importlib import resources

# In the order in which they run: the facts of the page first, and `start`, which draws it, last.
PARTS = (
    "facts", "elements", "colours", "matrices", "overview", "head", "text_view", "line_view", "matrix_view", "readout",
    "search", "controls", "keyboard", "listeners", "start",
)  # fmt: skip


def page_script() -> str:
    """The whole script, as the page holds it."""
    files = resources.files("dlkit.attention.page.script")
    body = "\n".join(files.joinpath(f"{name}.js").read_text("utf-8") for name in PARTS)
    return f'\n"use strict";\n(() => {{\n{textwrap.indent(body, "  ")}}})();\n'
