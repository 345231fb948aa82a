"""Data sets that come with dlkit's dependencies: their files and manifests. Free of torch."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from dlkit.data.registry import DATASETS
from dlkit.data.store import Manifest, StoredFile, hash_file
from dlkit.errors import DlkitError


def find_embedded(name: str) -> tuple[Path, Manifest]:
    """The file of an embedded data set and its manifest. Raises DlkitError if this installation lacks it."""
    path = embedded_file(name)
    if path is None:
        raise DlkitError(f"the file of {name} is not in this installation", "reinstall scikit-learn, or a full Python")
    known: StoredFile = hash_file(path.parent, path.name)
    splits = dict(DATASETS[name].rows) or _topics()
    return path, Manifest(name, {"kind": "embedded", "place": str(path)}, [known], [known], splits)


def embedded_file(name: str) -> Path | None:
    """The file of an embedded data set, or None."""
    if name == "pydoc":
        topics = find_spec("pydoc_data.topics") if find_spec("pydoc_data") else None
        return Path(topics.origin) if topics and topics.origin else None
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    return None


def _topics() -> dict[str, int]:
    from pydoc_data.topics import topics

    from dlkit.data.text.pydoc import topic_split

    counts = Counter(topic_split(topic) for topic in topics)
    return {split: counts[split] for split in ("train", "val", "test")}
