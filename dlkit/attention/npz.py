"""Attention weights and scores as an .npz file, written one matrix at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dlkit.attention.page import AttentionPage
from dlkit.storage.atomic_file import atomic_file


def write_npz(path: Path, page: AttentionPage, token_ids: Sequence[int], weights: Iterable[np.ndarray]) -> None:
    """Write `weights` (sides, layers, heads, T, T) float32, `layers`, `heads`, the token ids as `numbers` (T,), the
    tokens' text as `labels` (T,), `sides`, and each score under its own name, (sides, layers, heads).

    The file is written whole or not at all.

    Args:
        path: of the file.
        page: what is shown: its layers, heads, tokens and scores.
        token_ids: of the T tokens.
        weights: (T, T) for each side, layer and head, heads changing fastest.

    Raises:
        DlkitError: the file cannot be written.
    """
    tokens = len(page.tokens)
    shape = (len(page.sides), len(page.layers), len(page.heads), tokens, tokens)
    arrays: dict[str, np.ndarray] = {
        "layers": np.array(page.layers, dtype=np.int64),
        "heads": np.array(page.heads, dtype=np.int64),
        "numbers": np.array(token_ids, dtype=np.int64),
        "labels": np.array([_plain(token) for token in page.tokens]),
        "sides": np.array([_plain(side) for side in page.sides]),
        **{name: np.asarray(values) for name, values in page.scores.items()},
    }
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        with archive.open("weights.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for matrix in weights:
                member.write(np.ascontiguousarray(matrix, dtype="<f4").tobytes())
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _plain(text: str) -> str:
    """The text with what does not print escaped, because NumPy drops a NUL at the end of a string."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
