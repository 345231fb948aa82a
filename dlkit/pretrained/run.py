"""Weights of dlkit's own runs, verified by the checksums in their manifest."""

from __future__ import annotations

from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.finite import require_finite_weights
from dlkit.pretrained.weights import Weights
from dlkit.storage import run_reference
from dlkit.training import checkpoint


def read_checkpoint(folder: Path, path: Path | None = None) -> Weights:
    """The weights of a checkpoint: the moving average, if it has one, unless `path` is its model.safetensors.

    Args:
        folder: the checkpoint.
        path: given by the user: a run, the checkpoint, or a file in it.

    Raises:
        DlkitError: a file of it is missing or damaged, or `path` holds no weights.
        NotFiniteError: a weight is NaN or infinite.
    """
    path = path or folder
    saved = checkpoint.load_checkpoint(folder, files=("model", "ema"))
    if path.is_file() and path.name not in ("model.safetensors", "ema.safetensors"):
        raise DlkitError(f"{path} holds no weights of a model", f"model.weights={folder}")
    tensors = saved.tensors["model"] if path.is_file() and path.name == "model.safetensors" else saved.weights
    require_finite_weights(tensors, f"{path} at step {saved.step}")
    known = saved.state.get("data", {})
    return Weights(
        path=path, tensors=tensors, classes=tuple(known.get("classes", ())), step=saved.step, description=known
    )


def checkpoint_of(path: Path) -> Path | None:
    """dlkit's checkpoint for the path of a run, a checkpoint or a file in one; None for third-party weights."""
    if (path / "checkpoints").is_dir():
        return run_reference.Run(path).choose()
    folder = path if path.is_dir() else path.parent
    if folder.parent.name == "checkpoints":
        run_reference.require_inside(folder.parent.parent, folder)
    of_a_run = (
        folder.resolve().parent.name == "checkpoints" and (folder.resolve().parents[1] / run_reference.RECIPE).is_file()
    )
    marked = any((folder / name).is_file() for name in (checkpoint.STATE, checkpoint.MANIFEST))
    return folder if path.exists() and (of_a_run or marked) else None
