"""Something is on the screen before the slow part of a start: the import of torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Ends the process where it would import torch.
WITHOUT_TORCH = """
import os, sys

class End:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.stderr.flush()
            os._exit(7)

sys.meta_path.insert(0, End())
from dlkit.cli.app import run
run(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["train digits-mlp", "compare-optimizers digits-mlp"])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_shows_a_line_before_torch_is_imported(tmp_path: Path, command: str, quiet: bool) -> None:
    arguments = [sys.executable, "-c", WITHOUT_TORCH, *command.split(), *(["-q"] if quiet else [])]
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(arguments, stderr=theirs, stdout=subprocess.PIPE, cwd=tmp_path)
        os.write(theirs, b"end\n")
        shown = b""
        while not shown.endswith(b"end\r\n"):
            shown += os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 7
    assert shown == (b"" if quiet else b"loading PyTorch, the data and the model\r\n") + b"end\r\n"


def test_a_pipe_gets_no_such_line(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WITHOUT_TORCH, "train", "digits-mlp"]
    done = subprocess.run(arguments, capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (7, b"")
