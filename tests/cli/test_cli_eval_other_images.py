"""dlkit eval of a run on the embedded digits, on images in files: their values reach 255, those of the digits 16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from dlkit.cli.app import run as dlkit

COUNT = 200


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "run"
    changes = ["train.epochs=2", "model.hidden=[16]", "model.activation=relu"]
    assert dlkit(["train", "digits-mlp", *changes, "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of scikit-learn as files, from black, 0, to white, 255."""
    folder = tmp_path_factory.mktemp("photos")
    digits: Any = load_digits()
    for index, (image, target) in enumerate(zip(digits.images[:COUNT], digits.target, strict=False)):
        (folder / str(target)).mkdir(exist_ok=True)
        Image.fromarray(np.rint(image / 16 * 255).astype(np.uint8)).save(folder / str(target) / f"{index}.png")
    return folder


def test_the_values_of_files_are_put_into_the_range_of_the_digits(here: Any, run: Path, photos: Path) -> None:
    checkpoint = run / "checkpoints" / "last"
    (a, b), (c, d) = _layers(load_file(checkpoint / "model.safetensors"))
    known = json.loads((checkpoint / "state.json").read_text())["data"]
    digits: Any = load_digits()
    x = (torch.tensor(digits.data[:COUNT]).float() - known["mean"][0]) / known["std"][0]  # (N, 64)
    logits = F.linear(F.relu(F.linear(x, a, b)), c, d)
    targets = torch.tensor(digits.target[:COUNT])
    found = here(
        "eval", str(run), "data.name=images", f"data.path={photos}", "data.size=8", "data.channels=1", "--ood", "noise"
    )
    assert found.code == 0, found.err
    inside, noise = found.records
    assert inside["metrics"]["loss"] == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-4)
    assert inside["metrics"]["accuracy"] == pytest.approx((logits.argmax(1) == targets).float().mean().item())
    assert noise["n"] == COUNT


def _layers(tensors: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    weights = [name for name in tensors if name.endswith("weight")]
    return [(tensors[name], tensors[name.removesuffix("weight") + "bias"]) for name in weights]


def test_images_of_another_size_are_refused_with_the_keys_that_fit(here: Any, run: Path, photos: Path) -> None:
    found = here("eval", str(run), "data.name=images", f"data.path={photos}")
    assert (found.code, found.out) == (1, "")
    assert found.err.splitlines()[-1] == "hint: data.size=8 data.channels=1 reads images as the model takes them"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["data.path=photos"], "data.path: digits takes no path; images, imagenet, hub do: add data.name=images"),
        (["data.split=x"], "data.split: digits takes no split; hub does: add data.name=hub"),
        (["data.paht=photos"], "data.paht: unknown key; known: name, validation"),
    ],
)
def test_data_that_come_with_dlkit_say_which_data_take_a_path(
    here: Any, run: Path, changes: list[str], problem: str
) -> None:
    found = here("eval", str(run), *changes)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"command line: {problem}")
