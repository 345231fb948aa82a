"""What the first line of JSON Lines tells of its format. Free of torch and pyarrow."""

from __future__ import annotations

from dlkit.errors import DlkitError, shell_word


def require_json_lines(line: str, file: str) -> None:
    """Raise DlkitError if a file of JSON Lines begins as one array of all rows does."""
    if line.lstrip().startswith("["):
        raise DlkitError(
            f"{file} is a JSON array, not JSON Lines", f"write a line for each row: jq -c '.[]' {shell_word(file)}"
        )
