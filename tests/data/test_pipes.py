"""A named pipe where a folder should have a file is named, not waited for."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dlkit.data.text import tokenizer_files
from dlkit.errors import DlkitError
from dlkit.pretrained import huggingface_files
from dlkit.sweep import provenance, race_folder


@contextmanager
def pipe(path: Path) -> Iterator[None]:
    """A pipe from which a reader who does open it gets nothing, and its end, instead of waiting for ever."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: os.close(os.open(path, os.O_WRONLY)))
    writer.start()
    try:
        yield
    finally:
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which lets the writer go
        writer.join()
        os.close(reader)


@pytest.mark.parametrize(
    ("files", "name", "read"),
    [
        ({}, "config.json", lambda path: huggingface_files.read_json(path / "config.json")),
        ({}, "model.safetensors", huggingface_files.read_tensors),
        ({}, "model.safetensors.index.json", huggingface_files.read_tensors),
        ({}, "tokenizer.json", tokenizer_files.tokenizer_from_directory),
        ({}, "tokenizer_config.json", tokenizer_files.tokenizer_from_directory),
        ({}, "vocab.txt", tokenizer_files.tokenizer_from_directory),
        ({"merges.txt": ""}, "vocab.json", tokenizer_files.tokenizer_from_directory),
        ({"vocab.json": json.dumps({"a": 0})}, "merges.txt", tokenizer_files.tokenizer_from_directory),
        ({}, "runs.jsonl", lambda path: race_folder.load(path / "runs.jsonl")),
        ({}, "environment.json", lambda path: provenance.read(path, "environment.json")),
    ],
)
def test_a_pipe_in_a_folder_is_no_file(
    tmp_path: Path, files: dict[str, str], name: str, read: Callable[[Path], Any]
) -> None:
    for other, text in files.items():
        (tmp_path / other).write_text(text)
    with pipe(tmp_path / name), pytest.raises(DlkitError, match=rf"{name}.*a pipe"):
        read(tmp_path)
