"""Code of the user's own: a component that a recipe names as FILE.py:NAME. Nothing of it runs unless it is trusted.

The file stands alone: it may import dlkit and installed packages, not its neighbours. What runs is what was hashed.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dlkit.errors import DlkitError, RequestError
from dlkit.text_input import ordinary_file

PATTERN = r"^.*\.py:[A-Za-z_][A-Za-z0-9_]*$"
_trust = False
_modules: dict[tuple[Path, str], ModuleType] = {}  # (file, sha256) -> its module


def set_trust(trusted: bool) -> None:
    """Let this process run the user's own code, or not."""
    global _trust
    _trust = trusted


def is_trusted() -> bool:
    """Whether this process may run the user's own code."""
    return _trust


def is_reference(name: object) -> bool:
    """Whether a name is FILE.py:NAME."""
    return isinstance(name, str) and re.match(PATTERN, name) is not None


def split_reference(reference: str) -> tuple[Path, str]:
    """The file and the name in it."""
    file, _, name = reference.rpartition(":")
    return Path(file), name


def copy_in(folder: str | Path, reference: str) -> str:
    """The same name in the copy of its file that a folder has."""
    path, name = split_reference(reference)
    return f"{folder}/{path.name}:{name}"


def refusal(reference: str, where: str = "") -> RequestError:
    """The error where code is named and not trusted."""
    return RequestError(f"{where}{reference} is code of your own, and this would run it", "add `trust` if you trust it")


def read_code(path: Path) -> bytes:
    """The contents of a file of code. Raises RequestError if it cannot be read."""
    try:
        return ordinary_file(path).read_bytes()
    except OSError as error:
        hint = "a path is relative to the recipe's file; on the command line, to the working directory"
        missing = isinstance(error, FileNotFoundError)
        raise RequestError(f"{'no such file' if missing else error.strerror}: {path}", hint) from error


def sha256_of(path: Path) -> str:
    """Of a file of code. Raises RequestError if it cannot be read."""
    return hashlib.sha256(read_code(path)).hexdigest()


def hashes_of(files: Sequence[Path]) -> dict[str, str]:
    """File name -> sha256. Raises RequestError if a file cannot be read, or two have one name."""
    hashes = {path.name: sha256_of(path) for path in files}
    if len(hashes) < len(files):
        raise RequestError("two files of your own code have one name", "rename one: a run keeps a copy of each")
    return hashes


def load_object(reference: str) -> Any:
    """The object that FILE.py:NAME names; the file runs, once for each content of it.

    Raises:
        RequestError: the code is not trusted, the file is not there or does not run, or has no such name.
    """
    if not _trust:
        raise refusal(reference)
    path, name = split_reference(reference)
    module = _module(path)
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, [each for each in vars(module) if not each.startswith("_")], n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise RequestError(f"{path} has no {name}{meant}", "name a class or a function of that file: FILE.py:NAME")
    return getattr(module, name)


def _module(path: Path) -> ModuleType:
    content = read_code(path)
    key = path, hashlib.sha256(content).hexdigest()
    if key in _modules:
        return _modules[key]
    module = ModuleType(f"dlkit_user_code_{key[1][:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look
    try:
        exec(compile(content, str(path), "exec"), vars(module))
    except SyntaxError as error:
        raise RequestError(f"{error.filename}:{error.lineno}: {error.msg}", f"python -m py_compile {path}") from error
    except ValueError as error:  # a zero byte
        raise RequestError(f"{path} is not Python code: {error}", "name a file of Python code") from error
    except (Exception, SystemExit) as error:
        raise failure(error, path) from error
    _modules[key] = module
    return module


def failure(error: BaseException, path: Path, doing: str = "") -> RequestError:
    """An exception that came out of a file of the user's own, as an error of one line that says where."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"{path}:{lines[-1]}" if lines else str(path)
    text = " ".join(str(error).split())
    hint = "python shows more: `debug` prints the traceback"
    if isinstance(error, ImportError):
        hint = "the file stands alone: it may import dlkit and installed packages, not its neighbours"
    return RequestError(f"{place}: {doing}{type(error).__name__}{': ' if text else ''}{text}"[:500], hint)


def blamed(error: BaseException) -> RequestError | None:
    """The same for an exception from anywhere, if it came out of a file of the user's own."""
    files = {str(path): path for path, _ in _modules}
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    found = [files[name] for name in frames if name in files]
    return failure(error, found[-1]) if found else None


def same_value(a: Any, b: Any) -> bool:
    """Whether two values of a recipe agree: of code, whether it is the same name in a file of the same content."""
    if not (is_reference(a) and is_reference(b)):
        return bool(a == b)
    (one, name), (other, other_name) = split_reference(a), split_reference(b)
    return name == other_name and sha256_of(one) == sha256_of(other)


def require_unchanged(files: list[Path], saved: dict[str, str] | None) -> None:
    """Raise DlkitError unless files are those that a checkpoint names: file name -> sha256."""
    for path in files:
        if (saved or {}).get(path.name) != sha256_of(path):
            raise DlkitError(
                f"{path} is not the code that the checkpoint was trained with: another sha256",
                "put the earlier file back, or train anew: dlkit train RECIPE --trust",
            )
