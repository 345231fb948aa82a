"""The figures of the review, drawn into a folder: `dlkit review figures`. No torch until the first is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dlkit.errors import DlkitError, RequestError


@dataclass(frozen=True)
class DrawnFigure:
    """A figure and its files."""

    figure: str
    caption: str
    svg: str
    png: str


def draw_review_figures(folder: Path) -> Iterator[DrawnFigure]:
    """Draw all figures; each is there when it is yielded.

    Raises:
        RequestError: `folder` is a file.
        DlkitError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file", "give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlkitError(f"cannot make {folder}: {error.strerror}", "choose another folder") from error
    from dlkit.review.figures import FIGURES, caption_of, draw_review_figure

    for name in FIGURES:
        svg, png = draw_review_figure(name, folder)
        yield DrawnFigure(name, caption_of(name), str(svg), str(png))
