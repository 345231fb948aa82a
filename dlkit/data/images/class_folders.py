"""Which files a folder of images holds: its splits, its classes, and what is no image. No file is opened, no torch."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from dlkit.data.class_spelling import quoted
from dlkit.data.images.decoding import SUFFIXES
from dlkit.data.split_names import HINT, one_each, split_of_folder
from dlkit.errors import DlkitError
from dlkit.progress import stage

LAYOUT = "expected PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE with PATH/test/CLASS/IMAGE"
_READ = f"images are files with one of {len(SUFFIXES)} suffixes: .jpg, .png, .webp, .tif, .jp2, .avif, ..."

Examples = list[tuple[Path, int]]  # files and their classes


@dataclass
class Tally:
    """How many files were taken as images, and how many were not, by suffix."""

    taken: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])

    def line(self, where: Path, classes: tuple[str, ...]) -> str:
        """What was taken and what was left out, for the user."""
        names = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        of_classes = f"{len(classes)} class{'es' if len(classes) > 1 else ''} ({names}), " if classes else ""
        line = f"{where}: {of_classes}{counted(self.taken)}"
        return f"{line}; left out: {counted(self.left_out)}" if self.left_out else line


def counted(counter: Counter[str]) -> str:
    """How many files, and of which kinds."""
    parts = ", ".join(f"{kind} {count:,}" for kind, count in counter.most_common(8))
    total = counter.total()
    return f"{total:,} file{'s' if total != 1 else ''} ({parts}{', ...' if len(counter) > 8 else ''})"


def image_files(folder: Path) -> tuple[list[Path], Tally]:
    """The image files in a folder, at any depth, sorted, and what was left out.

    Raises:
        DlkitError: there is no folder, or no image.
    """
    if not folder.is_dir():
        raise DlkitError(f"no such folder: {folder}")
    tally = Tally()
    files = sorted(_image_files(folder, tally))
    if not files:
        raise DlkitError(f"no images in {folder}", _instead(tally))
    return files, tally


def class_files(
    root: Path, complete: bool = True, splits: Collection[str] = ("train", "val", "test")
) -> tuple[dict[str, Examples], tuple[str, ...], Tally]:
    """The image files of each split's class folders, with their classes; the names of the classes; what was left out.

    Args:
        root: the folder.
        complete: whether there must be a split to train on, of at least two classes, which has all of them.
        splits: those to look into.

    Raises:
        DlkitError: no such folder, one that cannot be read or leads to itself; folders of which it is not clear
            whether they are splits or classes; a single class, one without images, or one that is not in train.
    """
    folders = {split: folder for split, folder in split_folders(root, complete).items() if split in splits}
    places = [folders["train"]] if complete else folders.values()
    classes = tuple(sorted({folder.name for place in places for folder in _subfolders(place)}))
    if len(classes) < (2 if complete else 1):
        place = next(iter(places))
        found = f"only one class folder, {classes[0]!r}" if classes else "no class folders"
        inside = _subfolders(place / classes[0]) if classes else []
        deeper = any(split_of_folder(folder.name) for folder in inside)
        hint = f"its splits lie one level down: data.path={shlex.quote(str(place / classes[0]))}" if deeper else LAYOUT
        raise DlkitError(f"{place}: {found}", hint)
    tally = Tally()
    for place in {root, *folders.values()}:
        _count_strays(place, tally)
    with stage("looking for images") as advance:
        found = {split: _scan(folder, classes, tally, advance) for split, folder in folders.items()}
    return found, classes, tally


def split_folders(root: Path, complete: bool = True) -> dict[str, Path]:
    """Folder of each split; that of "train" is `root` itself where the splits have none.

    A folder is a split's by its name, in any case and spelling, where it holds class folders: a class may be called
    train. Raises DlkitError where that is not clear, or there is none of train and data is to be `complete`.
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
        _refuse_alike(folders)
        return {"train": root}
    if not nested:
        names = ", ".join(folder.name for folder in called)
        raise DlkitError(f"{root}: {names} are called after splits, and hold no class folders", LAYOUT)
    if others:
        raise DlkitError(f"{others[0]} is not a split, and {nested[0]} is called after one: classes, or splits?", HINT)
    splits = one_each((split, folder) for folder, split in called.items())
    if complete and "train" not in splits:
        raise DlkitError(f"{root}: {', '.join(folder.name for folder in called)}, but no folder of train", LAYOUT)
    return {name: splits[name] for name in ("test", "train", "val") if name in splits}


def _refuse_alike(folders: list[Path]) -> None:
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
    except OSError:  # a link that leads to itself; opening it will say so
        return False


def _scan(folder: Path, classes: tuple[str, ...], tally: Tally, advance: Callable[[int], None]) -> Examples:
    """The images of one split, sorted by class and path."""
    examples: Examples = []
    for entry in _subfolders(folder):
        if entry.name not in classes:
            raise DlkitError(
                f"{entry}: the class {quoted(entry.name)} is not in train", f"classes: {', '.join(classes)}"
            )
        own = Tally()
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


def _image_files(folder: Path, tally: Tally, above: tuple[str, ...] = ()) -> list[Path]:
    """The image files in a folder, at any depth, in no order; `above` are the real paths of the folders it lies in."""
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


def _count_strays(folder: Path, tally: Tally) -> None:
    """Count the files that lie beside class folders or split folders."""
    for entry in _list(folder):
        if not _is_folder(entry):
            kind = _kind(entry.name)
            tally.left_out["images outside of class folders" if kind in SUFFIXES else kind] += 1


def _kind(name: str) -> str:
    """The suffix of a file's name in lower case, or what it is instead."""
    if name.startswith("."):
        return "hidden"
    stem, dot, suffix = name.lower().rpartition(".")
    return f".{suffix}" if stem and dot else "no suffix"


def _instead(tally: Tally) -> str:
    return f"it holds {counted(tally.left_out)}; {_READ}" if tally.left_out else _READ
