"""Files beside a model: its description, and its tokenizer if it reads text."""

from __future__ import annotations

from typing import Any

from dlkit.export.exportable import Exportable
from dlkit.export.formats import DESCRIPTION
from dlkit.strict_json import json_text


def side_files(exportable: Exportable, description: dict[str, Any]) -> dict[str, str]:
    """File name -> content."""
    found = {DESCRIPTION: json_text(description, indent=1) + "\n"}
    if exportable.tokenizer is not None:
        found["tokenizer.json"] = exportable.tokenizer.to_json()
    return found
