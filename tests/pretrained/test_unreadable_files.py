"""What is no file of weights ends in one line, whatever its bytes are."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from dlkit.errors import DlkitError
from dlkit.pretrained.weight_files import read_weight_file

TEXTS = [b"broken\n", b".", b"0", b"t.", b"Kx", b"J\x01", b"(lp0\n.", pickle.dumps("text", protocol=2)]


def test_bytes_that_are_no_pickle(tmp_path: Path) -> None:
    """Short texts take torch's unpickler out of its stack, where it raises what no caller of it expects."""
    generator = np.random.default_rng(0)
    opcodes = bytes(generator.integers(0, 128, 4000, dtype=np.uint8))
    for content in [*TEXTS, *(opcodes[start : start + 9] for start in range(0, 360, 9))]:
        file = tmp_path / "model.pth"
        file.write_bytes(content)
        with pytest.raises(DlkitError) as raised:
            read_weight_file(file)
        assert str(file) in raised.value.message and raised.value.hint, content
