"""A model that others trained as a run, without a training step: `dlkit import`. Free of torch until it is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.app.import_request import request_import
from dlkit.storage.run_files import require_new_run


def import_model(
    source: str | os.PathLike[str],
    *changes: str,
    model: str | None = None,
    classes: str | os.PathLike[str] | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make a run of weights that others trained; returns the record that `dlkit import` prints.

    Args:
        source: a .safetensors, .pth or .pt file of torchvision, timm, ConvNeXt's authors or a public CIFAR ResNet; or,
            with or without `hf:` before it, a Hugging Face directory of the BERT or GPT family, or of timm; or
            `hf:OWNER/NAME`, as `dlkit download` has fetched it.
        changes: of the recipe that the run gets, as `data.size=256` or `data.text=sentence`.
        model: name of the architecture, such as resnet50; None for what a directory says.
        classes: names of the outputs in their order: a file with one a line or a JSON list, or the names.
        mean: by which each channel is normalised, of values in 0..1; None for ImageNet's.
        std: of each channel, likewise.
        run_dir: directory of the run; None for the next free `runs/<model>-<n>`.
        overwrite: delete an earlier run in `run_dir`.

    Raises:
        RequestError: no such model or key; more or fewer names than outputs.
        DlkitError: the weights are not there, damaged, or not those of the model.
    """
    request = request_import(source, changes, model, classes, mean, std)
    path = None if run_dir is None else Path(run_dir)
    require_new_run(path, overwrite)
    from dlkit.app.imported_run import write_imported_run

    return write_imported_run(request, path, overwrite)
