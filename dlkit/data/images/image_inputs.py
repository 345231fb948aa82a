"""The image files that a user names: files, folders at any depth, patterns. Free of torch."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from dlkit.data.images.class_folders import find_images
from dlkit.errors import DlkitError


def named_images(inputs: Sequence[str]) -> Iterator[str]:
    """The files that each input names, in the order of the inputs, and sorted within a folder or pattern.

    A file is taken as it is named, whatever its suffix; of a folder, those with the suffix of an image; a pattern is
    one that the shell has left as it is, with `**` for any depth.

    Raises:
        DlkitError: there is no such file, no image in a folder, or nothing that a pattern matches.
    """
    for name in inputs:
        path = Path(name).expanduser()
        if path.is_dir():
            yield from map(str, find_images(path)[0])
        elif path.exists():
            yield str(path)
        elif glob.has_magic(name):
            yield from _matches(str(path))
        else:
            raise DlkitError(
                f"no such file or folder: {name}", "give images, folders of them, or - for paths in a pipe"
            )


def _matches(pattern: str) -> Iterator[str]:
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - which takes absolute patterns
    if not found:
        raise DlkitError(f"nothing matches {pattern}", "quote a pattern, or let the shell expand it; ** is any depth")
    for name in found:
        if not Path(name).is_dir():
            yield name
