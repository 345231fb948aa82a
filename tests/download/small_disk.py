"""A disk that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_of(place: Path, megabytes: int) -> Generator[Path]:
    """A file system of so many megabytes, mounted at `place`; skips the test where that is not allowed."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", place]
    if os.getuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
