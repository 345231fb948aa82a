"""Write a trained model for other programs: `dlkit export`. Free of torch until it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit import recipe as recipes
from dlkit.catalog import TASKS, import_object
from dlkit.errors import DlkitError, RequestError, require_choice, shell_word
from dlkit.export.formats import CONFIG, DESCRIPTION, FILES, FORMATS, require_packages
from dlkit.storage import run_reference
from dlkit.storage.file_group import write_together
from dlkit.strict_json import parse_json

if TYPE_CHECKING:
    from dlkit.export.exportable import Exportable


def export_run(
    run: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    checkpoint: str | None = None,
    format: str = "hf",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a model for programs that have no dlkit; returns the record that the command prints.

    Args:
        run: a run, a checkpoint of one, or a Hugging Face directory of a language model.
        directory: a new or empty one.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        format: `hf`, `torchvision`, `onnx` or `torch-export`.
        overwrite: replace an earlier export in `directory`.

    Raises:
        RequestError: the directory holds something, there is no such format, or it has no such model.
        DlkitError: there is no such run, or it is damaged; the exported model would answer otherwise.
    """
    require_choice("`format`", format, tuple(FORMATS))
    target = Path(directory)
    earlier = _earlier_files(target, overwrite)
    run_reference.require_reference(os.fspath(run))
    require_packages(format)
    exportable = _open(os.fspath(run), checkpoint)
    if target.resolve() == exportable.path.resolve():
        raise RequestError(f"{target} is what is exported", "choose another directory")
    written: dict[str, Any] = {}

    def write(folder: Path) -> None:
        try:
            written.update(import_object(FORMATS[format].writer)(exportable, folder))
        except DlkitError as error:
            error.hint = error.hint or _instead(exportable, target, format)
            raise

    sizes = write_together(target, write, last=(DESCRIPTION, CONFIG), replaced=earlier)
    return {
        "run": str(exportable.path),
        "path": str(target),
        "format": format,
        "task": exportable.task,
        "model": exportable.name,
        "classes": len(exportable.classes),
        "files": sorted(sizes),
        "bytes": sum(sizes.values()),
        **written,
    }


def _open(reference: str, checkpoint: str | None) -> Exportable:
    from dlkit.app.exportable_run import exportable_array, exportable_language

    if reference != "-" and (Path(reference) / CONFIG).is_file():
        return exportable_language(reference, checkpoint, None)
    found = run_reference.resolve_run(reference)
    recipe = recipes.load(str(found.recipe), unchecked_code=True)
    named = str(found.checkpoint or found.path)
    if TASKS[recipe.values["task"]].inputs == "text":
        return exportable_language(named, checkpoint, recipe)
    from dlkit.app.predict import request_prediction

    return exportable_array(request_prediction(named, checkpoint=checkpoint))


def _instead(exportable: Exportable, target: Path, format: str) -> str:
    """The command that writes this model, and the other formats that it can have."""
    from dlkit.export.counterparts import formats_of

    first, *others = [name for name in formats_of(exportable) if name != format]
    command = f"dlkit export {shell_word(exportable.path)} {shell_word(target)} `format` {first}"
    return f"{command}{''.join(f', or {name}' for name in others)}"


def _earlier_files(target: Path, overwrite: bool) -> list[str]:
    """What is replaced of an earlier export. Raises RequestError unless a directory may be written."""
    if not target.exists():
        return []
    if not target.is_dir():
        raise RequestError(f"{target} is there already, and is a file", "give a new directory")
    held = sorted(entry.name for entry in target.iterdir())
    if not held:
        return []
    if not _is_export(target):
        raise RequestError(f"{target} is there already", "export writes a new directory")
    if not overwrite:
        raise RequestError(f"{target} is there already", "give a new directory, or use `overwrite`")
    others = [name for name in held if name not in FILES]
    if others:
        raise RequestError(f"{target} also holds {others[0]}, which no export wrote", "give a new directory")
    return held


def _is_export(target: Path) -> bool:
    try:
        return "dlkit" in parse_json((target / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
