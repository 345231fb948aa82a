"""One offline HTML page with the attention of every head: overview, text, lines, matrix and search; no network.

The weights are quantized uniformly, w = q / N with an integer q: uniform quantization followed by entropy coding is
within a quarter of a bit per weight of the best code for the same squared error (Gish & Pierce 1968). They are then
deflated column by column, because most queries of a head attend to the same few keys. N is as large as a head's share
of the page allows, so that short texts lose next to nothing. The page states the largest error, measured when written.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.attention.page.script import page_script
from dlkit.attention.token_display import display_line, token_runs
from dlkit.storage.atomic_file import atomic_file

PAGE_ROOM = 14_000_000  # bytes of base64 in a page, unless even the coarsest quantization needs more
HEAD_ROOM = PAGE_ROOM / 144  # and in a head: a page of few heads needs no more precision than one of many
COARSEST, FINEST = 255, 65_535  # the smallest and largest N: an error of 0.002 and of 0.000008
THUMB = 48  # rows of a thumbnail, at most


@dataclass(frozen=True)
class AttentionPage:
    """The contents of a view of one text: everything but the attention weights.

    Args:
        title: of the page.
        tokens: the text of each of the T tokens, unescaped: any characters, lone surrogates too.
        layers: the indices of the layers shown.
        heads: the indices of the heads shown, the same ones in each layer.
        causal: whether a token attends only to itself and those before it.
        sides: the name of the model, or of the two models compared.
        scores: by metric, (sides, layers, heads); NaN where undefined.
        notes: facts for the reader: run, step, largest difference of the check, ...
        split: the position of the second text's first token in a pair.
    """

    title: str
    tokens: Sequence[str]
    layers: Sequence[int]
    heads: Sequence[int]
    causal: bool
    sides: Sequence[str]
    scores: Mapping[str, np.ndarray]
    notes: Mapping[str, str]
    split: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sides, layers, heads."""
        return len(self.sides), len(self.layers), len(self.heads)


@dataclass(frozen=True)
class QuantizedMatrix:
    """A compressed attention matrix.

    Args:
        levels: N.
        error: the largest |q / N - w|.
        data: q = round(N w), by columns: all low bytes, then all high bytes, deflated.
    """

    levels: int
    error: float
    data: bytes


def write_page(path: Path, page: AttentionPage, weights: Iterable[np.ndarray]) -> int:
    """Write the page and return its size in bytes.

    Args:
        path: the file; it is replaced as a whole, or left as it was.
        page: what it shows.
        weights: (T, T) float32 for each side, layer and head, heads changing fastest; each row sums to 1. They are
            consumed one at a time.

    Raises:
        DlkitError: the file cannot be written.
    """
    with atomic_file(path) as file:
        for chunk in _chunks(page, weights):
            file.write(chunk.encode("utf-8"))
    return path.stat().st_size


def quantize_matrix(weights: np.ndarray, causal: bool, room: float, levels: int) -> QuantizedMatrix:
    """Compress a matrix (T, T) to at most `room` bytes, with the largest N found; a larger result has N = COARSEST.

    Args:
        weights: (T, T), queries down, keys across.
        causal: leave out the upper triangle, which is 0.
        room: in bytes.
        levels: the first N to try.
    """
    columns = np.ascontiguousarray(weights.T)  # (keys, queries)
    values = columns[np.triu_indices(len(columns))] if causal else columns.ravel()
    best = smallest = None
    for _ in range(6):
        data = _deflated(values, levels)
        if smallest is None or levels < smallest[0]:
            smallest = levels, data
        if len(data) <= room and (best is None or levels > best[0]):
            best = levels, data
        if best is not None and (best[0] == FINEST or len(best[1]) > 0.9 * room):
            break
        # each bit of precision costs about one bit per weight
        wanted = levels * 2 ** min((0.97 * room - len(data)) * 8 / values.size, 16)
        after = int(min(max(wanted, COARSEST), FINEST))
        if after == levels:
            break
        levels = after
    levels, data = best or smallest  # pyright: ignore[reportGeneralTypeIssues]
    error = float(np.abs(np.rint(values * levels) / levels - values).max())
    return QuantizedMatrix(levels, error, data)


def _deflated(values: np.ndarray, levels: int) -> bytes:
    whole = np.rint(values * levels).astype(np.uint16)
    planes = (whole & 255).astype(np.uint8).tobytes() + (whole >> 8).astype(np.uint8).tobytes()
    packer = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    return packer.compress(planes) + packer.flush()


def thumbnail(weights: np.ndarray, most: int = THUMB) -> np.ndarray:
    """A thumbnail (K, K) uint8 of the weights: the maximum of each block, its square root scaled to 255."""
    blocks = block_maxima(weights, most)
    return np.rint(255 * np.sqrt(blocks / blocks.max())).astype(np.uint8)


def block_maxima(weights: np.ndarray, most: int) -> np.ndarray:
    """The weights (T, T) in at most (most, most) blocks: the maximum of each."""
    rows = min(len(weights), most)
    edges = np.arange(rows) * len(weights) // rows
    return np.maximum.reduceat(np.maximum.reduceat(weights, edges, 0), edges, 1)


def _chunks(page: AttentionPage, weights: Iterable[np.ndarray]) -> Iterator[str]:
    """The file from top to bottom: the matrices come first, then the facts that are known only after them."""
    files = resources.files("dlkit.attention.page")
    style, script = files.joinpath("page.css").read_text("utf-8"), page_script()
    before, after = files.joinpath("page.html").read_text("utf-8").split("{{data}}")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    values = {"policy": policy, "title": html.escape(display_line(page.title)), "style": style}
    yield re.sub(r"{{(\w+)}}", lambda match: values[match[1]], before)

    sides, layers, heads = page.shape
    tokens = len(page.tokens)
    room = 3 / 4 * min(HEAD_ROOM, PAGE_ROOM / (sides * layers * heads))  # four characters hold three bytes
    levels, facts, thumbs = 1023, [], []
    total = np.zeros((tokens, tokens), np.float32)
    for number, matrix in enumerate(_checked(page, weights)):
        encoded = quantize_matrix(matrix, page.causal, room, levels)
        levels = encoded.levels
        facts.append([encoded.levels, encoded.error])
        yield f'<script type="text/plain" id="w{number}">{base64.b64encode(encoded.data).decode()}</script>\n'
        thumbs.append(thumbnail(matrix))
        total += matrix
        if (number + 1) % heads == 0:  # the mean of a layer follows its heads
            thumbs.append(thumbnail(total))
            total[:] = 0
    small = base64.b64encode(zlib.compress(np.stack(thumbs).tobytes(), 9)).decode()
    yield f'<script type="text/plain" id="thumbs">{small}</script>\n'
    yield f'<script type="application/json" id="data">{_data(page, facts)}</script>\n'
    yield after.replace("{{script}}", script)


def _checked(page: AttentionPage, weights: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    number, tokens = 0, len(page.tokens)
    expected = int(np.prod(page.shape))
    for number, matrix in enumerate(weights, 1):
        if matrix.shape != (tokens, tokens) or number > expected:
            raise ValueError(f"matrix {number} of {expected} is {matrix.shape}, for {tokens} tokens")
        yield matrix
    if number != expected:
        raise ValueError(f"{number} matrices for {expected} heads")


def _data(page: AttentionPage, facts: list[list[Any]]) -> str:
    """The script's data as JSON that cannot end the script element: ASCII without <, > and &."""
    data = {
        "tokens": [[list(run) if run[0] != run[1] else run[0] for run in token_runs(t)] for t in page.tokens],
        "layers": list(map(int, page.layers)),
        "heads": list(map(int, page.heads)),
        "causal": page.causal,
        "sides": [display_line(side) for side in page.sides],
        "scores": {
            name: [None if np.isnan(value) else float(value) for value in np.asarray(values, float).ravel()]
            for name, values in page.scores.items()
        },
        "notes": {display_line(name): display_line(value) for name, value in page.notes.items()},
        "split": page.split,
        "thumb": min(len(page.tokens), THUMB),
        "coding": facts,
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
