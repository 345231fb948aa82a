"""A text as one array of token ids, in memory or, if it is large, in a memory-mapped file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import DTypeLike, NDArray

from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError
from dlkit.progress import stage
from dlkit.storage.atomic_file import atomic_file

IN_MEMORY = 256 << 20  # bytes of text up to which its token ids are kept in memory
_AT_ONCE = 1 << 16
_RULES = "special tokens as such"  # by which files were encoded: those of other rules are made anew

Tokens = NDArray[np.uint16 | np.uint32]


def token_array(text: Text, tokenizer: Tokenizer, folder: Path, before: int | None = None) -> Tokens:
    """The token ids of a text, (n,) uint16 or uint32.

    Args:
        text: if it has more than `IN_MEMORY` bytes, its token ids are written to `folder`, once.
        tokenizer: to encode it with.
        folder: for files of token ids, named by a hash of text and tokenizer.
        before: a token id to put first, so that every token of the text has one before it to be predicted from.

    Raises:
        DlkitError: the text is not UTF-8, or the file cannot be written.
    """
    dtype = np.uint16 if tokenizer.size <= 1 << 16 else np.uint32
    first = np.array([] if before is None else [before], dtype=dtype)
    if text.size <= IN_MEMORY:
        return np.concatenate([first, *_encoded(text, tokenizer, dtype)])
    key = hashlib.sha256(f"{_RULES} {before} {text.sha256} {tokenizer.fingerprint}".encode()).hexdigest()
    path = folder / f"{key[:32]}.tokens"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _write(path, first, text, tokenizer)
        return np.memmap(path, dtype=dtype, mode="r")
    except OSError as error:
        raise DlkitError(f"cannot write the tokens of the text to {folder}: {error.strerror}") from error


def is_lossless(text: Text, tokenizer: Tokenizer, tokens: Tokens) -> bool:
    """Whether a byte-level tokenizer's tokens spell exactly the text that they encode."""
    position, data = 0, b""
    for piece in text.pieces():
        wanted = piece.encode()
        while len(data) < len(wanted) and position < len(tokens):
            chunk = tokens[position : position + _AT_ONCE]
            position += len(chunk)
            data += b"".join(map(tokenizer.bytes_of, chunk.tolist()))
        if not data.startswith(wanted):
            return False
        data = data[len(wanted) :]
    return position == len(tokens) and not data


def _encoded(text: Text, tokenizer: Tokenizer, dtype: DTypeLike) -> Iterator[Tokens]:
    with stage("tokens encoded") as advance:
        for chunk in tokenizer.encode_text(text):
            yield chunk.astype(dtype)
            advance(len(chunk))


def _write(path: Path, first: Tokens, text: Text, tokenizer: Tokenizer) -> None:
    with atomic_file(path) as file:
        file.write(first.tobytes())
        for chunk in _encoded(text, tokenizer, first.dtype):
            file.write(chunk.tobytes())
