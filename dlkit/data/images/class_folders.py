"""The splits, classes and image files of a folder, by names alone: no file is opened. Free of torch."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from dlkit.data.class_spelling import quoted_name
from dlkit.data.images.decoding import SUFFIXES
from dlkit.data.split_names import HINT, one_folder_each, split_of_folder
from dlkit.errors import DlkitError, shell_word
from dlkit.progress import stage

LAYOUT = "expected PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE with PATH/test/CLASS/IMAGE"
_READ = f"images are files with one of {len(SUFFIXES)} suffixes: .jpg, .png, .webp, .tif, .jp2, .avif, ..."

Examples = list[tuple[Path, int]]  # files and their classes


@dataclass
class FileTally:
    """Numbers of files taken as images, and of files left out, by suffix."""

    taken: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])

    def line(self, where: Path, classes: tuple[str, ...]) -> str:
        """A line for the user: what was taken and what was left out."""
        names = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        of_classes = f"{len(classes)} class{'es' if len(classes) > 1 else ''} ({names}), " if classes else ""
        line = f"{where}: {of_classes}{file_counts(self.taken)}"
        return f"{line}; left out: {file_counts(self.left_out)}" if self.left_out else line


def file_counts(counter: Counter[str]) -> str:
    """The number of files, in all and by suffix, as text."""
    parts = ", ".join(f"{kind} {count:,}" for kind, count in counter.most_common(8))
    total = counter.total()
    return f"{total:,} file{'s' if total != 1 else ''} ({parts}{', ...' if len(counter) > 8 else ''})"


def find_images(folder: Path) -> tuple[list[Path], FileTally]:
    """All image files in a folder, at any depth, sorted; and the tally of files.

    Raises:
        DlkitError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DlkitError(f"no such folder: {folder}")
    tally = FileTally()
    files = sorted(_image_files(folder, tally))
    if not files:
        raise DlkitError(f"no images in {folder}", _instead(tally))
    return files, tally


def find_class_images(
    root: Path, complete: bool = True, splits: Collection[str] = ("train", "val", "test")
) -> tuple[dict[str, Examples], tuple[str, ...], FileTally]:
    """The image files of each split with their class indices, the class names, and the tally of files.

    Args:
        root: the folder.
        complete: require a training split that has all of the classes, at least two.
        splits: the splits to read.

    Raises:
        DlkitError: there is no such folder, or it cannot be read or contains itself; it is unclear whether folders are
            splits or classes; there is a single class, a class without images, or a class that is not in train.
    """
    every = split_folders(root, complete)
    if every == {"train": root}:
        _refuse_likely_splits(_subfolders(root))
    folders = {split: folder for split, folder in every.items() if split in splits}
    places = [folders["train"]] if complete else folders.values()
    classes = tuple(sorted({folder.name for place in places for folder in _subfolders(place)}))
    if len(classes) < (2 if complete else 1):
        place = next(iter(places))
        found = f"only one class folder, {classes[0]!r}" if classes else "no class folders"
        inside = _subfolders(place / classes[0]) if classes else []
        deeper = any(split_of_folder(folder.name) for folder in inside)
        hint = f"its splits lie one level down: data.path={shell_word(place / classes[0])}" if deeper else LAYOUT
        raise DlkitError(f"{place}: {found}", hint)
    tally = FileTally()
    for place in {root, *folders.values()}:
        _count_strays(place, tally)
    with stage("looking for images") as advance:
        found = {split: _scan(folder, classes, tally, advance) for split, folder in folders.items()}
    return found, classes, tally


def split_folders(root: Path, complete: bool = True) -> dict[str, Path]:
    """The folder of each split; "train" is `root` itself if there are no split folders.

    A folder with the name of a split, in any case and spelling, is one if it holds class folders: a class may be called
    train. Raises DlkitError if that is unclear, or if data must be `complete` and there is no training split.
    """
    if not root.exists():
        raise DlkitError(f"no such folder: {root}")
    if not root.is_dir():
        raise DlkitError(f"not a folder: {root}", LAYOUT)
    folders = _subfolders(root)
    called = {folder: split for folder in folders if (split := split_of_folder(folder.name))}
    nested = [folder for folder in called if _subfolders(folder)]
    others = [folder for folder in folders if folder not in called]
    if not called or (others and not nested):
        return {"train": root}
    if not nested:
        names = ", ".join(folder.name for folder in called)
        raise DlkitError(f"{root}: {names} are called after splits, and hold no class folders", LAYOUT)
    if others:
        raise DlkitError(f"{others[0]} is not a split, and {nested[0]} is called after one: classes, or splits?", HINT)
    splits = one_folder_each((split, folder) for folder, split in called.items())
    if complete and "train" not in splits:
        raise DlkitError(f"{root}: {', '.join(folder.name for folder in called)}, but no folder of train", LAYOUT)
    return {name: splits[name] for name in ("test", "train", "val") if name in splits}


def _refuse_likely_splits(folders: list[Path]) -> None:
    """Raise DlkitError where folders of what would be classes are more likely something else.

    Folders that hold the same folders and no images are splits, folds, or what else one data set is cut into, in any
    language: where they are two or three, no more than what each of them holds, or told apart by a number alone. And
    where train and test lie inside of each class, test images must not be trained on.
    """
    if len(folders) < 2:
        return
    inside = [{place.name for place in _subfolders(folder)} for folder in folders]
    for folder, names in zip(folders, inside, strict=True):
        if len({split for name in names if (split := split_of_folder(name))}) > 1:
            raise DlkitError(f"{folder} is no split, and holds splits: {', '.join(sorted(names))}", LAYOUT)
    if len(inside[0]) < 2 or any(names != inside[0] for names in inside):
        return
    stems = {re.sub(r"[\d\W_]+$", "", folder.name) for folder in folders}
    if len(folders) > max(3, len(inside[0])) and (len(stems) > 1 or "" in stems):
        return
    if any(_kind(entry.name) in SUFFIXES for folder in folders for entry in _list(folder)):
        return
    those = " and ".join(map(str, folders[:3])) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")
    shown = ", ".join(sorted(inside[0])[:4])
    raise DlkitError(f"{those} hold the same folders, {shown}: are they splits, or classes?", HINT)


def _subfolders(folder: Path) -> list[Path]:
    names = (entry.name for entry in _list(folder) if _is_folder(entry) and not entry.name.startswith("."))
    return [folder / name for name in sorted(names)]


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DlkitError(f"cannot read the folder {folder}: {error.strerror}") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; opening it raises
        return False


def _scan(folder: Path, classes: tuple[str, ...], tally: FileTally, advance: Callable[[int], None]) -> Examples:
    """The examples of one split, sorted by class and path."""
    examples: Examples = []
    for entry in _subfolders(folder):
        if entry.name not in classes:
            raise DlkitError(
                f"{entry}: the class {quoted_name(entry.name)} is not in train", f"classes: {', '.join(classes)}"
            )
        own = FileTally()
        files = sorted(_image_files(entry, own))
        if not files:
            raise DlkitError(f"class folder without images: {entry}", _instead(own))
        tally.taken.update(own.taken)
        tally.left_out.update(own.left_out)
        examples += [(file, classes.index(entry.name)) for file in files]
        advance(len(files))
    if not examples:
        raise DlkitError(f"{folder} holds no class folders", LAYOUT)
    return examples


def _image_files(folder: Path, tally: FileTally, above: tuple[str, ...] = ()) -> list[Path]:
    """Image files in a folder, at any depth, unsorted; `above` are the real paths of its ancestors."""
    real = os.path.realpath(folder)
    if real in above:
        raise DlkitError(f"{folder} leads back to {real}, in which it lies", "remove the link")
    files: list[Path] = []
    for entry in _list(folder):
        kind = _kind(entry.name)
        if kind != "hidden" and _is_folder(entry):
            files += _image_files(folder / entry.name, tally, (*above, real))
        elif kind in SUFFIXES:
            files.append(folder / entry.name)
            tally.taken[kind] += 1
        else:
            tally.left_out[kind] += 1
    return files


def _count_strays(folder: Path, tally: FileTally) -> None:
    """Count files beside class folders or split folders."""
    for entry in _list(folder):
        if not _is_folder(entry):
            kind = _kind(entry.name)
            tally.left_out["images outside of class folders" if kind in SUFFIXES else kind] += 1


def _kind(name: str) -> str:
    """The suffix of a file name in lower case, or "hidden" or "no suffix"."""
    if name.startswith("."):
        return "hidden"
    stem, dot, suffix = name.lower().rpartition(".")
    return f".{suffix}" if stem and dot else "no suffix"


def _instead(tally: FileTally) -> str:
    return f"it holds {file_counts(tally.left_out)}; {_READ}" if tally.left_out else _READ
