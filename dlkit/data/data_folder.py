"""The folder of downloaded data sets and of data prepared from them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """`$DLKIT_DATA`, or dlkit's folder in the platform's cache directory."""
    named = os.environ.get("DLKIT_DATA")
    return Path(named).expanduser().absolute() if named else _cache_folder()


def _cache_folder() -> Path:
    """By the XDG Base Directory Specification, and by the conventions of Windows and macOS."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "dlkit" / "dlkit" / "Cache"
    named = os.environ.get("XDG_CACHE_HOME", "").strip()
    if named and Path(named).is_absolute():
        return Path(named) / "dlkit"
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser() / "dlkit"
