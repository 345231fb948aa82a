"""Check that data is what a checkpoint was trained on: a run resumes only on identical data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dlkit.data.tables.table_file import join_names
from dlkit.errors import DlkitError


def require_same(description: Mapping[str, Any], saved: Mapping[str, Any], tabular: bool) -> None:
    """Raise DlkitError unless two descriptions of data agree.

    Args:
        description: of the data as it is now.
        saved: in the checkpoint.
        tabular: whether the data is a table, whose columns must have names.
    """
    now: dict[str, Any] = json.loads(json.dumps(description))
    if "content" not in saved:  # written by an earlier version
        now = {key: value for key, value in now.items() if key in saved}
        if tabular:
            raise DlkitError(
                "the checkpoint does not say which columns it was trained on: an earlier dlkit wrote it",
                "train anew: dlkit train RECIPE",
            )
    for key, before in saved.items():
        if key in now and now[key] != before:
            raise DlkitError(
                f"the data has changed since the run began; {_difference(key, before, now[key])}",
                "put the earlier data back, or begin another run with this data: dlkit train RECIPE",
            )


def _difference(key: str, before: Any, now: Any) -> str:
    if key == "columns":
        before, now = (join_names(f"{one['name']} ({one['type']})" for one in columns) for columns in (before, now))
    elif key == "content" and before.get("rows") == now.get("rows"):
        return "it has other content in as many rows" if "rows" in now else "it has other content"
    elif key == "content":
        key, (before, now) = "rows", (_counts(content["rows"]) for content in (before, now))
    elif key == "classes":
        before, now = join_names(before), join_names(now)
    else:
        return "it has other content"
    return f"{key} before: {before}; now: {now}"


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{rows[split]} {split}" for split in ("train", "val", "test") if split in rows)
