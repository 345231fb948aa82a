"""What folders and files are called that hold the splits of a data set: in any case, and as others spell it.

The words are those of torchvision, Hugging Face's `datasets` and Ultralytics. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dlkit.errors import DlkitError

_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in _SPELLINGS.items() for word in words}
# What may stand beside such a word in the name of a folder that is no class: train_images, Testing Data, train2017, ...
_BESIDE = {"", "set", "data", "dataset", "split", "folder", "images", "image", "imgs", "img", "ilsvrc", "seg"}
_FUSED = re.compile(r"(set|data|images|imgs)$")
HINT = "call the splits train, val and test"


def split_of_folder(name: str) -> str | None:
    """The split that a folder is called after: train, val or test; None for any other name."""
    words = [_split_of_word(word) or word for word in _words(name)]
    found = {word for word in words if word in _SPELLINGS}
    return found.pop() if len(found) == 1 and set(words) <= {*_BESIDE, *_SPELLINGS} else None


def split_of_file(file: Path) -> str | None:
    """The split that a file of rows is called after, wherever in its name: train-00000-of-00002, my_dev, ...

    Raises:
        DlkitError: it is called after two.
    """
    found = {split for word in _words(file.stem) if (split := _split_of_word(word))}
    if len(found) > 1:
        raise DlkitError(f"{file}: of which split, {' or '.join(sorted(found))}?", HINT)
    return found.pop() if found else None


def one_folder_each(places: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """The folder of each split. Raises DlkitError where two are called after one."""
    result: dict[str, Path] = {}
    for split, place in places:
        if split in result:
            raise DlkitError(f"{place} is not a split of its own: {result[split]} is {split!r} too", HINT)
        result[split] = place
    return result


def _words(name: str) -> list[str]:
    return re.split(r"[\W\d_]+", name.casefold())


def _split_of_word(word: str) -> str | None:
    return _SPLIT_OF.get(word) or _SPLIT_OF.get(_FUSED.sub("", word))
