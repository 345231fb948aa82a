"""What the first line of a table tells of its format. Free of torch and pyarrow."""

from __future__ import annotations

from dlkit.errors import DlkitError, shell_word

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def require_commas(header: str, name: str) -> None:
    """Raise DlkitError if the header of a CSV file separates its columns by something else."""
    used = [called for separator, called in _SEPARATORS.items() if separator in header and "," not in header]
    if used:
        raise DlkitError(
            f"{name} is no CSV: its columns are separated by {used[0]}", "save it with commas, and points in numbers"
        )


def require_json_lines(line: str, file: str) -> None:
    """Raise DlkitError if a file of JSON Lines begins as one array of all rows does."""
    if line.lstrip().startswith("["):
        raise DlkitError(
            f"{file} is a JSON array, not JSON Lines", f"write a line for each row: jq -c '.[]' {shell_word(file)}"
        )
