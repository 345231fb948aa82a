"""Write a BERT or GPT as a Hugging Face directory: `dlkit export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dlkit.errors import RequestError
from dlkit.storage import run_reference


def export_run(
    run: str | os.PathLike[str], directory: str | os.PathLike[str], checkpoint: str | None = None
) -> dict[str, Any]:
    """Write a language model for `transformers`; returns the record that the command prints.

    Args:
        run: a run or a checkpoint of one.
        directory: a new or empty one.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.

    Raises:
        RequestError: the directory holds something, or the run is no language model.
        DlkitError: there is no such run, or it is damaged.
    """
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"{target} is there already", "export writes a new directory")
    run_reference.require_reference(os.fspath(run))
    import torch

    from dlkit.lm.export import export_to_huggingface
    from dlkit.lm.language_model import open_language_model

    language_model = open_language_model(os.fspath(run), torch.device("cpu"), checkpoint)
    size = export_to_huggingface(language_model, target)
    return {"run": str(language_model.path), "path": str(target), "bytes": size, "task": language_model.task}
