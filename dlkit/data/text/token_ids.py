"""A text as one array of token numbers, in memory or, where it is large, in a file that is mapped into it."""

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

IN_MEMORY = 256 << 20  # bytes of text up to which its tokens are kept in memory
_AT_ONCE = 1 << 16

Tokens = NDArray[np.uint16 | np.uint32]


def tokens_of(text: Text, tokenizer: Tokenizer, folder: Path, before: int | None = None) -> Tokens:
    """The text's tokens, (n,).

    Args:
        text: of at most `IN_MEMORY` bytes, or of any size: then its tokens are written to `folder`, once.
        tokenizer: to encode it with.
        folder: for token files, named by the hash of text and tokenizer.
        before: a token that comes first, so that each token of the text has one before it that predicts it.

    Raises:
        DlkitError: the text is empty or no UTF-8, or the file cannot be written.
    """
    dtype = np.uint16 if tokenizer.size <= 1 << 16 else np.uint32
    first = np.array([] if before is None else [before], dtype=dtype)
    if text.size <= IN_MEMORY:
        return np.concatenate([first, *_encoded(text, tokenizer, dtype)])
    key = hashlib.sha256(f"{before} {text.sha256} {tokenizer.fingerprint}".encode()).hexdigest()
    path = folder / f"{key[:32]}.tokens"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _write(path, first, text, tokenizer)
        return np.memmap(path, dtype=dtype, mode="r")
    except OSError as error:
        raise DlkitError(f"cannot write the tokens of the text to {folder}: {error.strerror}") from error


def gives_back(text: Text, tokenizer: Tokenizer, tokens: Tokens) -> bool:
    """Whether the bytes of a byte-level tokenizer's tokens are those of the text they were made of."""
    place, data = 0, b""
    for piece in text.pieces():
        wanted = piece.encode()
        while len(data) < len(wanted) and place < len(tokens):
            chunk = tokens[place : place + _AT_ONCE]
            place += len(chunk)
            data += b"".join(map(tokenizer.bytes_of, chunk.tolist()))
        if not data.startswith(wanted):
            return False
        data = data[len(wanted) :]
    return place == len(tokens) and not data


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
