"""Imports that may fail, because a package is not installed or too large for the address space.

Under `ulimit -v`, loading torch or numpy may crash in C without an exception, so a child process tries first.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
from typing import Any

from dlkit import memory

# Bytes that must remain free after the import: with torch, for threads, other libraries and a training step.
_LARGE = {"numpy": 0, "torch": 1 << 29}
_ABSENT = 3
# Package names that differ from their modules.
_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def package_to_install(module: str | None) -> str | None:
    """The package to install for a missing module; None for a submodule of an installed one, or of dlkit itself."""
    top = (module or "dlkit").partition(".")[0]
    if top == "dlkit" or sys.modules.get(top) is not None:
        return None
    return distribution_name(top)


def distribution_name(module: str) -> str:
    """The package that a module at the top level comes in, as registries call it."""
    return _PACKAGES.get(module, module.replace("_", "-"))


class _GuardedFinder(importlib.abc.MetaPathFinder):
    """Finds no module, but lets a child process import each of the large ones before this process does."""

    def __init__(self) -> None:
        self.left = _LARGE.keys() - sys.modules.keys()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname in self.left:
            self.left.remove(fullname)
            if not self.loads(fullname):
                raise MemoryError(f"loading {fullname}")

    def loads(self, name: str) -> bool:
        """Whether a child imports the module with memory to spare, or finds it absent, as this process will, too."""
        child = os.fork()
        if child == 0:
            self.left.clear()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                os._exit(_ABSENT)
            except BaseException:
                os._exit(1)
            os._exit((memory.free_memory() or 0) < _LARGE[name])
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) in (0, _ABSENT)


def guard_large_imports() -> None:
    """Try large imports in a child process if the address space is limited; else do nothing."""
    if memory.address_space_limit() is not None:
        sys.meta_path.insert(0, _GuardedFinder())
