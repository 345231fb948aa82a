"""Your own text: one file, or the *.txt files of a folder."""

from __future__ import annotations

from pathlib import Path

from dlkit.annotations import Rate
from dlkit.errors import DlkitError, RequestError


def text(*, path: str, val: Rate = 0.1, test: Rate = 0.0) -> dict[str, str]:
    """One text cut in up to three: "train" from its start, then "val", then "test" to its end.

    A folder's files are joined in the order of their names, with a line break between them. Line ends stay as they are.

    Args:
        path: a UTF-8 file or a folder with *.txt files, relative to the current directory.
        val: share of the characters for "val".
        test: share of the characters for "test".

    Raises:
        DlkitError: nothing to read at `path`, bytes that are not UTF-8, or a split without a character.
        RequestError: `val` and `test` leave nothing for training.
    """
    if val + test >= 1:
        raise RequestError(f"val: {val} and test: {test} leave nothing for training")
    source = Path(path)
    if source.is_dir():
        files = sorted(file for file in source.glob("*.txt") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise DlkitError(f"no *.txt files in {source}")
    else:
        files = [source]
    whole = "\n".join(_read(file) for file in files)
    test_begin = len(whole) - round(len(whole) * test)
    val_begin = test_begin - round(len(whole) * val)
    parts = {"train": whole[:val_begin]}
    if val > 0:
        parts["val"] = whole[val_begin:test_begin]
    if test > 0:
        parts["test"] = whole[test_begin:]
    for split, part in parts.items():
        if not part:
            raise DlkitError(f"{source}: {len(whole)} characters are too few: none is left for {split!r}")
    return parts


def _read(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DlkitError(f"cannot read {file}: {error.strerror}") from error
    if not content:
        raise DlkitError(f"the file is empty: {file}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise DlkitError(
            f"{file} is not UTF-8 text: byte 0x{byte:02x} at offset {error.start}", "convert it, for example with iconv"
        ) from error
