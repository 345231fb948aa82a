"""The run directory of an imported model: a recipe, a checkpoint of step 0, and where it came from."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

from dlkit.app.import_request import ImportRequest
from dlkit.app.imported_language import imported_language
from dlkit.app.imported_model import Imported
from dlkit.app.imported_vision import imported_vision
from dlkit.errors import DlkitError
from dlkit.storage.lock import LOCK
from dlkit.storage.run_files import clear_run
from dlkit.storage.run_reference import ENVIRONMENT, RECIPE, SUMMARY
from dlkit.strict_json import json_text
from dlkit.training import environment, run_directory
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.weights import drop_tied_duplicates


def write_imported_run(request: ImportRequest, path: Path | None, overwrite: bool) -> dict[str, Any]:
    """Read the weights, and make a run of them. Returns the record that `dlkit import` prints.

    Args:
        request: what to import.
        path: of the run; None for the next free one.
        overwrite: delete an earlier run there.

    Raises:
        RequestError: there is something else at `path`; what is said of the weights is not so.
        DlkitError: the weights are damaged, or not those of the model.
    """
    found = imported_vision(request) if request.model is not None else imported_language(request)
    made = run_directory.create_run_directory(path, found.recipe.name, overwrite)
    try:
        return _write(request, found, made)
    except BaseException as error:  # half a run would be in the way of the next try
        with contextlib.suppress(OSError):
            clear_run(made)
            (made / LOCK).unlink(missing_ok=True)
            made.rmdir()
        if isinstance(error, DlkitError):
            raise DlkitError(error.message, "free some space, then import again") from error
        raise


def _write(request: ImportRequest, found: Imported, path: Path) -> dict[str, Any]:
    sources = {"weights": str(request.path.resolve())}
    with run_directory.RunDirectory(path) as directory:
        directory.write(RECIPE, found.recipe.to_yaml())
        described = environment.describe_environment(torch.device("cpu"), sources)
        directory.write(ENVIRONMENT, json_text({"recipe": found.recipe.name, **described}, indent=1) + "\n")
        directory.open_metrics()
        tensors = {"model": drop_tied_duplicates(found.model.state_dict())}
        checkpoint = directory.save(Checkpoint(0, tensors, {"data": found.description}), best=False)
        record = {
            "run": str(path),
            "source": str(request.path),
            "task": found.recipe.values["task"],
            "model": found.recipe.values["model"]["name"],
            "parameters": sum(parameter.numel() for parameter in found.model.parameters()),
            "classes": len(found.description.get("classes", ())),
            "checkpoint": str(checkpoint),
            "remarks": found.remarks,
        }
        directory.write(SUMMARY, json_text(record, indent=1) + "\n")
    return record
