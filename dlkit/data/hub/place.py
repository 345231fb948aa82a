"""Where a data set of the Hub is on this machine. Free of torch and of `datasets`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dlkit.data import store
from dlkit.errors import DlkitError, RequestError, shell_word
from dlkit.hub_reference import PREFIX, HubReference, hub_reference

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class HubPlace:
    """A folder with the files of a repository.

    `shown` is what the user calls it; of downloads the `commit` is known, and which files were `include`d, if not all.
    """

    folder: Path
    shown: str
    commit: str | None = None
    sha256: str | None = None
    include: tuple[str, ...] = ()


def require_hub_place(path: str) -> HubPlace:
    """The folder of a data set: the user's own, or what `dlkit download` or the Hub's own cache holds of a repository.

    Args:
        path: a folder, or OWNER/NAME, with or without the prefix `hf:` and the suffix `@REVISION`.

    Raises:
        DlkitError: nothing is there; the hint is the command that downloads it.
        RequestError: it is a file, or a name that no data set of the Hub has.
    """
    named = hub_reference(path) if path.startswith(PREFIX) or not Path(path).is_absolute() else None
    if named is None and path.startswith(PREFIX):
        raise RequestError(f"data.path: {path} names no data set of the Hub", "give hf:OWNER/NAME, or a folder")
    if named is None:
        folder = Path(path)
        if folder.is_dir():
            return HubPlace(folder, os.path.normpath(folder))
        if folder.exists():
            raise RequestError(f"data.path: {path} is a file, not a folder in the Hub's layout", _file_hint(folder))
        hint = "data.path takes a folder, or OWNER/NAME of what `dlkit download hf:OWNER/NAME` has fetched"
        raise DlkitError(f"no such folder: {path}", hint)
    if named.kind == "models":
        raise RequestError(f"data.path: {path} is a model", "give the OWNER/NAME of a data set")
    reference = named.of("datasets")
    found = downloaded(reference)
    if found is None:
        manifest = store.dataset_folder(reference.folder) / store.MANIFEST
        what = "is not whole" if manifest.exists() else "is not here"
        command = HubReference(named.name, None, named.revision)
        raise DlkitError(
            f"the data set {reference.name} {what}: no such folder, and nothing whole in {manifest.parent}",
            f"dlkit download {shell_word(command)}{store.data_dir_option()}",
        )
    return found


def _file_hint(file: Path) -> str:
    """The data that reads a table of the user's own."""
    kinds = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "text"}
    kind = kinds.get(file.suffix.lower())
    texts = ", or data.name=texts for labelled texts" if kind not in (None, "text") else ""
    return f"data.name={kind} reads such a file{texts}" if kind else "give the folder that it lies in"


def downloaded(reference: HubReference) -> HubPlace | None:
    """What `dlkit download`, or the hub's own library, has downloaded of a repository whose kind is known."""
    manifest = store.find_manifest(reference.folder)
    if manifest is None:
        return in_hub_cache(reference)
    folder, source = store.dataset_folder(reference.folder), manifest.source
    include = tuple(source.get("include", ()))
    return HubPlace(folder, reference.name, source.get("commit"), manifest.sha256, include)


def in_hub_cache(reference: HubReference) -> HubPlace | None:
    """What `huggingface_hub` or `datasets` has downloaded of a repository whose kind is known."""
    repository = hub_cache() / f"{reference.kind}--{reference.name.replace('/', '--')}"
    revision = reference.revision or "main"
    commit = revision
    if not _COMMIT.fullmatch(revision):
        try:
            commit = (repository / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
    folder = repository / "snapshots" / commit
    return HubPlace(folder, reference.name, commit) if _COMMIT.fullmatch(commit) and folder.is_dir() else None


def hub_cache() -> Path:
    """The cache of `huggingface_hub`: $HF_HUB_CACHE, else in $HF_HOME, else in the user's cache directory."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{caches}/huggingface").expanduser() / "hub"
