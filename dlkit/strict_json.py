"""Records as JSON that every parser takes: a number that is not finite is null, and the text is valid Unicode.

What is read may be anybody's.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from dlkit.annotations import is_list, is_mapping


def parse_json(data: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError if it is none, or is nested too deeply to be read."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def json_text(record: Any, indent: int | None = None) -> str:
    """The record as JSON. Bytes of a file's name that are no text become escapes."""
    text = json.dumps(finite(record), indent=indent, ensure_ascii=False, allow_nan=False, default=_plain)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: Any) -> Any:
    """A value as a column of Parquet may hold it, as JSON has it: dates and times in ISO 8601, others as text."""
    import datetime
    from decimal import Decimal

    if isinstance(value, Decimal):
        return finite(float(value))
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, datetime.timedelta):
        return str(value)
    raise TypeError(f"JSON has no {type(value).__name__}")


def finite(value: Any) -> Any:
    """The value with null for each number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_mapping(value):
        return {str(key): finite(item) for key, item in value.items()}
    if is_list(value):
        return [finite(item) for item in value]
    return value
