"""The data sets that come with dlkit's dependencies: where they are, for the list and the record. No torch."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from dlkit.data.store import File, Manifest, hashed
from dlkit.errors import DlkitError


def find(name: str) -> tuple[Path, Manifest]:
    """The file of an embedded data set, and a manifest for it. Raises DlkitError if this installation lacks it."""
    path = place(name)
    if path is None:
        raise DlkitError(f"the file of {name} is not in this installation", "reinstall scikit-learn, or a full Python")
    known: File = hashed(path.parent, path.name)
    splits = {"train": 1_437, "test": 360} if name == "digits" else _topics()
    return path, Manifest(name, {"kind": "embedded", "place": str(path)}, [known], [known], splits)


def place(name: str) -> Path | None:
    """The file of an embedded data set."""
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
