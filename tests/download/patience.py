"""How long a test of downloads waits."""

from __future__ import annotations

from typing import Any

from dlkit.download.retries import RetryPolicy


def impatient(**changes: Any) -> RetryPolicy:
    """Four tries, the next of which comes at once, unless changes say otherwise."""
    return RetryPolicy(**{"retries": 4, "timeout": 60.0, "first_wait": 0.001, **changes})
