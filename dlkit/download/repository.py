"""Which files of any repository of the Hub are fetched: data as it is; of a model, weights in safetensors and texts."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from dlkit.data.registry import DatasetInfo
from dlkit.data.store import MANIFEST
from dlkit.download.remote_files import Listing, RemoteFile
from dlkit.errors import DlkitError, RequestError

HIDDEN_SEALS = ".seals"  # subfolder of the seals by which a repair recognizes the files
_WEIGHTS = ".safetensors"
_MAIN_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
# beside weights: configuration, vocabulary, class names, licence
_OF_MODELS = (".json", ".txt", ".model", ".md", ".jinja", "")
_CARD = "README.md"
_CODE = (".py", ".ipynb", ".sh")
_OWN = (".seal", ".part", ".tmp")  # names that a download gives to files of its own


def listed_repository(dataset: DatasetInfo, files: list[RemoteFile], source: dict[str, Any]) -> Listing:
    """The files to fetch; `left_out` in the source counts the others by their suffix.

    Raises:
        DlkitError: there is nothing to fetch, a model has no weights in safetensors, or a name leads out of the folder.
    """
    for file in files:
        if file.path.startswith("/") or ".." in PurePosixPath(file.path).parts or "\\" in file.path:
            raise DlkitError(f"{dataset.name} has a file {file.path!r}, which would lie elsewhere", "tell its authors")
    paths = [file.path for file in files]
    wanted = set(_of_model(paths) if dataset.kind == "models" else filter(_is_data, paths))
    wanted.discard(MANIFEST)  # which is dlkit's own
    if dataset.include:
        source = {**source, "include": list(dataset.include)}
        # the card says what the columns are
        wanted = {path for path in wanted if path == _CARD or any(fnmatchcase(path, one) for one in dataset.include)}
        if not wanted - {_CARD}:
            raise RequestError(
                f"{dataset.name} has no files {' or '.join(dataset.include)}", f"it has {join_files(sorted(paths))}"
            )
    if dataset.kind == "models" and not any(path.endswith(_WEIGHTS) for path in wanted):
        others = sorted({PurePosixPath(path).suffix for path in paths} - {*_OF_MODELS})
        raise DlkitError(
            f"{dataset.name} has no weights in safetensors, but files of {', '.join(others) or 'text'}",
            "dlkit reads no pickles: the Hub's convert space, or its refs/pr/N, may have them in safetensors",
        )
    if not wanted:
        raise DlkitError(f"{dataset.name} has no data: {join_files(paths) or 'no files at all'}")
    others = (PurePosixPath(path) for path in paths if path not in wanted)
    left_out = Counter(path.suffix or path.name for path in others if path.name != ".gitattributes")
    chosen = sorted((file for file in files if file.path in wanted), key=lambda file: file.path)
    return Listing(chosen, {**source, **({"left_out": dict(left_out)} if left_out else {})})


def join_files(paths: list[str]) -> str:
    """The first few names."""
    return ", ".join(paths[:8]) + (f" and {len(paths) - 8} more" if len(paths) > 8 else "")


def _of_model(paths: list[str]) -> list[str]:
    """Files at the top whose weights are those of the model itself, if these are told from others by name."""
    top = [path for path in paths if "/" not in path and not path.startswith(".")]
    weights = [path for path in top if path.endswith(_WEIGHTS)]
    main = [path for path in weights if _MAIN_WEIGHTS.fullmatch(path)]
    return [path for path in top if PurePosixPath(path).suffix in _OF_MODELS] + (main or weights)


def _is_data(path: str) -> bool:
    parts = PurePosixPath(path)
    hidden = any(part.startswith(".") for part in parts.parts)
    return not hidden and parts.suffix not in (*_CODE, *_OWN)
