"""Where data sets and what is prepared from them are kept."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def data_folder() -> Path:
    """`$DLKIT_DATA`, or else dlkit's folder in the platform's cache directory."""
    named = os.environ.get("DLKIT_DATA")
    return Path(named).expanduser().absolute() if named else user_cache_path("dlkit")
