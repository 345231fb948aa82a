"""Hugging Face's `datasets`: imported where it is used, silent, offline, and with its caches in place."""

from __future__ import annotations

import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from dlkit.data.data_folder import data_folder
from dlkit.errors import DlkitError, RequestError, error_line

_CACHES = ("HF_DATASETS_CACHE", "HF_HOME")  # where the user wants the files of `datasets`


def conversion_folder() -> str | None:
    """Where `datasets` keeps what it converts to Arrow; None for where the user's environment says."""
    return None if any(os.environ.get(name) for name in _CACHES) else str(data_folder() / "hub" / "arrow")


def require_library() -> Any:
    """The module. Raises RequestError, with the command that installs it, if it is not there."""
    try:
        return importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise RequestError(
            f"data.name=hub needs the package {error.name}, which is not installed", f"pip install {error.name}"
        ) from error


@contextmanager
def quiet_library(what: str) -> Iterator[None]:
    """Keep `datasets` off the terminal and off the network; of its errors, the first cause is said of `what`.

    What is read is on this machine: only `dlkit download` uses the network.
    """
    library = require_library()
    log, printed = library.utils.logging, io.StringIO()
    before = library.are_progress_bars_disabled(), log.get_verbosity(), library.config.HF_HUB_OFFLINE
    library.disable_progress_bars()
    log.set_verbosity(logging.CRITICAL)
    library.config.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings(), redirect_stdout(printed):
            warnings.simplefilter("ignore")
            yield
    except DlkitError:
        raise
    except Exception as error:
        raise DlkitError(f"cannot read {what}: {_first_cause(error)}", "is all of it here, and whole?") from error
    finally:
        if not before[0]:
            library.enable_progress_bars()
        log.set_verbosity(before[1])
        library.config.HF_HUB_OFFLINE = before[2]


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return error_line(error) or type(error).__name__
