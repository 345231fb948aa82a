"""Names of folders and files of splits, in any case and in common spellings.

The spellings are those of torchvision, Hugging Face's `datasets` and Ultralytics. Free of torch.
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
# Words that may accompany the name of a split in that of a folder: train_images, Testing Data, train2017, ...
_BESIDE = {"", "set", "data", "dataset", "split", "folder", "images", "image", "imgs", "img", "ilsvrc", "seg"}
_FUSED = re.compile(r"(set|data|images|imgs)$")
SPLITS = ("train", "val", "test", "val_mismatched")  # of any data that is read here; the last is MNLI's
HINT = "call the splits train, val and test"


def split_of_folder(name: str) -> str | None:
    """The split named by a folder, train, val or test; None for any other name."""
    words = [_split_of_word(word) or word for word in _words(name)]
    found = {word for word in words if word in _SPELLINGS}
    return found.pop() if len(found) == 1 and set(words) <= {*_BESIDE, *_SPELLINGS} else None


def split_of_file(file: Path) -> str | None:
    """The split named anywhere in the name of a file: train-00000-of-00002, my_dev, ...; or None.

    Raises:
        DlkitError: it names two splits.
    """
    found = {split for word in _words(file.stem) if (split := _split_of_word(word))}
    if len(found) > 1:
        raise DlkitError(f"{file}: of which split, {' or '.join(sorted(found))}?", HINT)
    return found.pop() if found else None


def one_folder_each(folders: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """The folder of each split. Raises DlkitError if two folders are named after the same split."""
    result: dict[str, Path] = {}
    for split, folder in folders:
        if split in result:
            raise DlkitError(f"{folder} is not a split of its own: {result[split]} is {split!r} too", HINT)
        result[split] = folder
    return result


def _words(name: str) -> list[str]:
    return re.split(r"[\W\d_]+", name.casefold())


def _split_of_word(word: str) -> str | None:
    return _SPLIT_OF.get(word) or _SPLIT_OF.get(_FUSED.sub("", word))
