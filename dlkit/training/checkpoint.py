"""Checkpoints: written atomically, and verified by hash when they are read.

A checkpoint directory holds safetensors files, `state.json` and `manifest.json`, which lists the sha256 of the others
and its own, and is written last. Tensors that are divided among the processes of a job lie in files of their own, in
the folder `parts` (see `dlkit.distributed.part_files`), and are whole again when they are read. The directory is
written under a temporary name, synced and renamed, so that a kill or a full disk at any moment leaves the previous
checkpoint intact. No pickle is written or read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from dlkit.distributed import part_files
from dlkit.errors import DlkitError, shell_word
from dlkit.storage.atomic_file import sync_folder
from dlkit.storage.run_files import remove_path, steps_in
from dlkit.storage.run_reference import MANIFEST, METRICS, RECIPE, checkpoint_name, step_folders
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file

STATE = "state.json"
PARTS = "parts"
_REPLACED = ".replaced"


@dataclass
class Checkpoint:
    """The contents of a checkpoint: `tensors` by file (`model`, `optimizer`, ...) and name, `state` in JSON values.

    `parts` is where the processes of a job have written what is divided among them, as `file/name`, before it is saved.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    parts: Path | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights to evaluate: the moving average if there is one, with those that are not averaged (counters)."""
        return {**self.tensors["model"], **self.tensors.get("ema", {})}


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into `folder/step-NNNNNNNN` and return that path.

    Raises DlkitError if the disk refuses, or the folder is a link.
    """
    there = step_folders(folder)
    target = folder / checkpoint_name(checkpoint.step)
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        hashes: dict[str, str] = {}
        for name, tensors in checkpoint.tensors.items():
            whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            hashes[f"{name}.safetensors"] = _write(temporary / f"{name}.safetensors", save_tensors(whole))
        if checkpoint.parts is not None:
            checkpoint.parts.rename(temporary / PARTS)
            for path in sorted((temporary / PARTS).iterdir()):
                hashes[f"{PARTS}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
            sync_folder(temporary / PARTS)
        hashes[STATE] = _write(temporary / STATE, _canonical({"step": checkpoint.step, **checkpoint.state}))
        _write(temporary / MANIFEST, _manifest(hashes))
        sync_folder(temporary)
        # left by a run that was killed between this rename and the next pointer, or stopped in the evaluation that
        # follows the step: `restore_replaced` takes it back if this process is killed between the two renames
        replaced = folder / f".{target.name}{_REPLACED}"
        if checkpoint.step in there:
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        elif target.is_symlink():
            target.unlink()
        temporary.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        kept = steps_in(folder)
        intact = f"; the checkpoint of step {kept[-1]} is intact" if kept else ""
        reason = "no space left on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise DlkitError(
            f"cannot save the checkpoint of step {checkpoint.step} in {folder}: {reason}{intact}",
            "free some space, then continue with `resume`",
        ) from error
    return target


def restore_replaced(folder: Path) -> None:
    """Take back a checkpoint that was being replaced when its run was killed; remove it where its successor is whole.

    Raises DlkitError if the folder is a link.
    """
    there = step_folders(folder)
    for replaced in folder.glob(f".step-*{_REPLACED}"):
        name = replaced.name.removeprefix(".").removesuffix(_REPLACED)
        if name in map(checkpoint_name, there):
            remove_path(replaced)
        else:
            replaced.rename(folder / name)


def set_pointer(folder: Path, name: str, step: int) -> None:
    """Make the pointer `folder/name` a link to the checkpoint of a step, atomically."""
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(checkpoint_name(step))
    temporary.replace(folder / name)


def load_checkpoint(path: Path, files: tuple[str, ...] | None = None) -> Checkpoint:
    """Read and verify a checkpoint directory.

    Args:
        path: the directory, or a pointer to it.
        files: which tensor files to load, by default all. All files are verified in any case.

    Raises:
        DlkitError: it is not there, a file in it is missing or damaged, or it is that of another run; it is named.
    """
    if not path.is_dir():
        raise DlkitError(f"no checkpoint at {path}", "see what its parent holds: checkpoints are called step-NNNNNNNN")
    tensors: dict[str, dict[str, Tensor]] = {}
    state: dict[str, Any] = {}
    parts: list[bytes] = []
    try:
        for name, data in _verified_files(path):
            stem = name.removesuffix(".safetensors")
            if name == STATE:
                state = json.loads(data)
            elif name.startswith(f"{PARTS}/"):
                parts.append(data)
            elif files is None or stem in files:
                try:
                    tensors[stem] = load_tensors(data)
                except SafetensorError as error:
                    raise _DamageError(path / name, str(error)) from error
    except _DamageError as error:
        raise _damaged(error.path, error.why) from error
    for key, value in part_files.join_parts(parts).items():
        stem, _, name = key.partition("/")
        if files is None or stem in files:
            tensors.setdefault(stem, {})[name] = value
    step, name = int(state.pop("step")), Path(os.path.realpath(path)).name
    if re.fullmatch(r"step-\d+", name) and name != checkpoint_name(step):
        raise DlkitError(
            f"{path} holds the checkpoint of step {step}", f"remove it, or call it {checkpoint_name(step)}"
        )
    _require_own(path, step, state)
    return Checkpoint(step, tensors, state)


def _require_own(path: Path, step: int, state: dict[str, Any]) -> None:
    """Raise DlkitError if a checkpoint was taken after other records than those of the run that it lies in.

    Missing records are no error here: to be evaluated a run needs none, and to resume it checks them itself.
    """
    folder = Path(os.path.realpath(path)).parent
    records, size, digest = folder.parent / METRICS, state.get("metrics_bytes"), state.get("metrics_sha256")
    if folder.name != "checkpoints" or digest is None or not isinstance(size, int) or not records.is_file():
        return
    with records.open("rb") as file:
        before = file.read(max(0, min(size, records.stat().st_size)))
    why = f"shorter ({len(before)} bytes)" if len(before) < size else "other"
    if hashlib.sha256(before).hexdigest() != digest:
        run = path.parents[1] if path.parent.name == folder.name else folder.parent
        raise DlkitError(
            f"damaged: {run / METRICS} is {why} than when the checkpoint of step {step} was taken; "
            "is one of them another run's?",
            f"restore it from a copy, or train anew: dlkit train {shell_word(run / RECIPE)}; "
            f"without {METRICS} the weights can be used as they are",
        )


def _damaged(path: Path, why: str) -> DlkitError:
    folder = Path(os.path.realpath(path.parent))
    others = [step for step in steps_in(folder.parent) if checkpoint_name(step) != folder.name]
    whole = next((step for step in reversed(others) if _is_whole(folder.parent / checkpoint_name(step))), None)
    own = path.parent.with_name(folder.name)  # where `path` goes through a pointer
    rest = (
        "no other checkpoint here is whole"
        if whole is None
        else f"step {whole} is whole; to go back to it: rm -r {shell_word(own)}"
    )
    return DlkitError(f"damaged checkpoint: {path}: {why}", rest)


def _is_whole(folder: Path) -> bool:
    """Whether every file of a checkpoint is as it was written."""
    try:
        for _ in _verified_files(folder):
            pass
    except (_DamageError, DlkitError):
        return False
    return True


def _canonical(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _manifest(hashes: dict[str, str]) -> bytes:
    own = hashlib.sha256(_canonical(hashes)).hexdigest()
    return _canonical({"files": hashes, "sha256": own})


class _DamageError(Exception):
    """A file of a checkpoint is not as it was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why


def _verified_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and content of each file that a checkpoint's manifest lists. Raises _DamageError at the first fault."""
    for name, expected in _read_manifest(path).items():
        try:
            data = ordinary_file(path / name).read_bytes()
        except OSError as error:
            raise _DamageError(path / name, error.strerror or "unreadable") from error
        if hashlib.sha256(data).hexdigest() != expected:
            raise _DamageError(path / name, "its sha256 is not the one in manifest.json")
        yield name, data


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        data = ordinary_file(path / MANIFEST).read_bytes()
        hashes = parse_json(data)["files"]
        if _manifest(hashes) == data and STATE in hashes:
            return hashes
    except OSError as error:
        raise _DamageError(path / MANIFEST, error.strerror or "unreadable") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise _DamageError(path / MANIFEST, "not as it was written")


def _write(path: Path, data: bytes) -> str:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()
