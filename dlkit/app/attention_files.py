"""The files that an inspection of attention writes: a page, arrays, a figure of the heads or of a run's steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlkit.app.attention import InspectedModel, page_matrices
from dlkit.app.events import Remark
from dlkit.attention.figures import draw_attention
from dlkit.attention.npz import write_npz
from dlkit.attention.page import AttentionPage, write_page
from dlkit.attention.request import InspectionRequest
from dlkit.attention.steps_figure import draw_scores_over_steps


def write_page_files(request: InspectionRequest, sides: list[InspectedModel], page: AttentionPage) -> Iterator[Remark]:
    """Write the files of a request that show a text; says how large a page became."""
    start = sides[0].tokens[0]
    stop = start + len(page.tokens)
    for option, path in request.files.items():
        weights = page_matrices(request, sides, start, stop)
        if option == "html":
            yield Remark(f"{path}: {write_page(path, page, weights) / 1e6:.1f} MB")
        elif option == "npz":
            write_npz(path, page, sides[0].texts[0].token_ids[start:stop], weights)
        else:
            draw_attention(path, page, weights, request.measure)


def draw_steps(request: InspectionRequest, steps: list[int], scores: np.ndarray) -> None:
    """Draw the scores of the S steps, (S, layers, heads), into the files of a request."""
    for path in request.files.values():
        draw_scores_over_steps(path, steps, {request.shown_measure: scores})
