"""One offline HTML page with every head's attention: overview, text, lines and matrix, search; no network.

The weights are quantised evenly, w = q / N with a whole number q: even steps with an entropy coder behind them are
within a quarter of a bit of what any code of the same squared error needs (Gish & Pierce 1968). Then they are deflated
column by column, because a head looks at the same few tokens from everywhere. N is as large as a head's room on the
page allows, so that short texts lose next to nothing. The page states the largest error, as measured while writing.
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

from dlkit.attention.token_display import pieces, prose
from dlkit.storage.atomic_file import atomic_file

PAGE_ROOM = 14_000_000  # bytes of base64 in a page, as long as the coarsest steps allow
HEAD_ROOM = PAGE_ROOM / 144  # and in a head: pages of a few heads need no more precision than those of many
COARSEST, FINEST = 255, 65_535  # the least and greatest N: an error of 0.002 and of 0.000008
THUMB = 48  # small pictures have at most this many rows


@dataclass(frozen=True)
class Page:
    """What the views of one text show.

    Args:
        title: what was looked at.
        tokens: a label for each of the T tokens, as it comes: any text, control characters and lone surrogates too.
        layers: the numbers of the layers shown.
        heads: the numbers of the heads shown, the same ones in each layer.
        causal: whether a token sees only itself and those before it.
        sides: the name of the model, or of two that are compared.
        scores: by measure (sides, layers, heads); NaN where it is undefined.
        notes: facts for the reader: run, step, largest difference of the check, ...
        split: the first token of the second sentence of a pair.
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
class Encoded:
    """A matrix of attention in few bytes: round(N w) as deflated columns of low bytes, then of high bytes."""

    levels: int  # N
    error: float  # the largest |q / N - w|
    data: bytes


def write(path: Path, page: Page, weights: Iterable[np.ndarray]) -> int:
    """Write the page and return its size in bytes.

    Args:
        path: the file; it is replaced as a whole, or left as it was.
        weights: (T, T) float32 for each side, layer and head, the head changing fastest; each row sums to 1. They are
            taken one at a time.

    Raises:
        DlkitError: the file cannot be written.
    """
    with atomic_file(path) as file:
        for part in _parts(page, weights):
            file.write(part.encode("utf-8"))
    return path.stat().st_size


def encode(weights: np.ndarray, causal: bool, room: float, levels: int) -> Encoded:
    """A matrix (T, T) in at most `room` bytes if N can be so small, with the search for N begun at `levels`."""
    columns = np.ascontiguousarray(weights.T)  # (looked at, looking)
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
        # each bit of precision costs a bit a weight
        wanted = levels * 2 ** min((0.97 * room - len(data)) * 8 / values.size, 16)
        after = int(min(max(wanted, COARSEST), FINEST))
        if after == levels:
            break
        levels = after
    levels, data = best or smallest  # pyright: ignore[reportGeneralTypeIssues]
    error = float(np.abs(np.rint(values * levels) / levels - values).max())
    return Encoded(levels, error, data)


def _deflated(values: np.ndarray, levels: int) -> bytes:
    whole = np.rint(values * levels).astype(np.uint16)
    planes = (whole & 255).astype(np.uint8).tobytes() + (whole >> 8).astype(np.uint8).tobytes()
    packer = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    return packer.compress(planes) + packer.flush()


def thumbnail(weights: np.ndarray, most: int = THUMB) -> np.ndarray:
    """A small picture (K, K) uint8 of the weights: the largest of each block, its root on a scale up to 255."""
    rows = min(len(weights), most)
    edges = np.arange(rows) * len(weights) // rows
    blocks = np.maximum.reduceat(np.maximum.reduceat(weights, edges, 0), edges, 1)
    return np.rint(255 * np.sqrt(blocks / blocks.max())).astype(np.uint8)


def _parts(page: Page, weights: Iterable[np.ndarray]) -> Iterator[str]:
    """The page in the order of the file: the matrices come before what is known only behind them."""
    files = resources.files("dlkit.attention")
    style, script = (files.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    before, after = files.joinpath("page.html").read_text("utf-8").split("{{data}}")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    values = {"policy": policy, "title": html.escape(prose(page.title)), "style": style}
    yield re.sub(r"{{(\w+)}}", lambda place: values[place[1]], before)

    sides, layers, heads = page.shape
    tokens = len(page.tokens)
    room = 3 / 4 * min(HEAD_ROOM, PAGE_ROOM / (sides * layers * heads))  # four characters hold three bytes
    levels, facts, thumbs = 1023, [], []
    total = np.zeros((tokens, tokens), np.float32)
    for number, matrix in enumerate(_checked(page, weights)):
        encoded = encode(matrix, page.causal, room, levels)
        levels = encoded.levels
        facts.append([encoded.levels, encoded.error])
        yield f'<script type="text/plain" id="w{number}">{base64.b64encode(encoded.data).decode()}</script>\n'
        thumbs.append(thumbnail(matrix))
        total += matrix
        if (number + 1) % heads == 0:  # the mean of a layer stands behind its heads
            thumbs.append(thumbnail(total))
            total[:] = 0
    small = base64.b64encode(zlib.compress(np.stack(thumbs).tobytes(), 9)).decode()
    yield f'<script type="text/plain" id="thumbs">{small}</script>\n'
    yield f'<script type="application/json" id="data">{_data(page, facts)}</script>\n'
    yield after.replace("{{script}}", script)


def _checked(page: Page, weights: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    number, tokens = 0, len(page.tokens)
    expected = int(np.prod(page.shape))
    for number, matrix in enumerate(weights, 1):
        if matrix.shape != (tokens, tokens) or number > expected:
            raise ValueError(f"matrix {number} of {expected} is {matrix.shape}, for {tokens} tokens")
        yield matrix
    if number != expected:
        raise ValueError(f"{number} matrices for {expected} heads")


def _data(page: Page, facts: list[list[Any]]) -> str:
    """What the script needs to know, as JSON that no HTML parser can leave: ASCII without <, > and &."""
    data = {
        "tokens": [[list(piece) if piece[0] != piece[1] else piece[0] for piece in pieces(t)] for t in page.tokens],
        "layers": list(map(int, page.layers)),
        "heads": list(map(int, page.heads)),
        "causal": page.causal,
        "sides": [prose(side) for side in page.sides],
        "scores": {
            name: [None if np.isnan(value) else float(value) for value in np.asarray(values, float).ravel()]
            for name, values in page.scores.items()
        },
        "notes": {prose(name): prose(value) for name, value in page.notes.items()},
        "split": page.split,
        "thumb": min(len(page.tokens), THUMB),
        "coding": facts,
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
