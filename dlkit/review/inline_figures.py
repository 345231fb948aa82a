"""The figures of a section as parts of an HTML page: SVG whose text is text, in the colours of the page."""

from __future__ import annotations

import html
import re

from dlkit.plotting import svg_text
from dlkit.review.figures import SECTION_OF, caption_of, make_review_figure


def inline_figures(section: str) -> list[str]:
    """A <figure> with its caption for each figure of a section of the review."""
    return [_element(name) for name, of in SECTION_OF.items() if of == section]


def _element(name: str) -> str:
    drawn = svg_text(make_review_figure(name))
    drawn = drawn[drawn.index("<svg") :].strip()
    drawn = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<!--.*?-->", "", drawn, flags=re.DOTALL)
    # the ids of two figures in one page must differ
    drawn = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", drawn)
    # black and white are ink and paper of the page, light or dark
    drawn = drawn.replace("#000000", "currentColor").replace("#ffffff", "var(--page)")
    caption = html.escape(caption_of(name))
    head, box = f'<svg role="img" aria-labelledby="caption-{name}"', re.search(r'viewBox="[^"]*"', drawn)
    assert box is not None
    inner = drawn[drawn.index(">") + 1 :]
    return (
        f'<figure>{head} {box[0]} xmlns:xlink="http://www.w3.org/1999/xlink">{inner}'
        f'<figcaption id="caption-{name}">{caption}</figcaption></figure>'
    )
