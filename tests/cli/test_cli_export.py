"""dlkit export: what is written answers as the run does, in programs that have no dlkit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlkit.cli.app import run as dlkit

FEW = ("train.epochs=null", "train.steps=3", "-q")
# A program with torch alone: importing dlkit, or anything else that is no part of torch's own requirements, fails.
ONLY_TORCH = """
import sys
for name in ("dlkit", "torchvision", "tokenizers", "safetensors", "transformers", "PIL", "onnx"):
    sys.modules[name] = None
import json, numpy, torch
folder, inputs, answers = sys.argv[1:]
texts = {"model.json": ""}
graph = torch.export.load(f"{folder}/model.pt2", extra_files=texts).module()
assert json.loads(texts["model.json"]) == json.load(open(f"{folder}/model.json"))
given = {name: torch.from_numpy(value) for name, value in numpy.load(inputs).items()}
with torch.no_grad():
    numpy.save(answers, graph(**given).numpy())
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in three classes, of other sizes than a model takes."""
    generator, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for label in ("cat", "dog", "eel"):
        (root / label).mkdir()
        for i in range(5):
            pixels = generator.integers(0, 256, (41 + i, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def images(photos: Path) -> Path:
    """A run of a network for images, which averages over each and its mirror image."""
    run = photos.parent / "images"
    small = ["model.depths=[1,1]", "model.widths=[8,16]", "data.batch_size=5", "data.validation=0", "optimizer.lr=0.01"]
    changes = [f"data.path={photos}", "model.name=resnet", *small, "train.test_views=flip", *FEW]
    assert dlkit(["train", "images-resnet20", *changes, "--run-dir", str(run)]) == 0
    return run


def pixels_of(files: list[Path], size: int) -> Any:
    """As model.json describes it, with Pillow: the centre square, resized; (N, C, H, W) uint8."""
    found: list[Any] = []
    for file in files:
        image = Image.open(file).convert("RGB")
        w, h = image.size
        s = min(w, h)
        box = ((w - s) / 2, (h - s) / 2, (w + s) / 2, (h + s) / 2)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
        found.append(np.asarray(image).transpose(2, 0, 1))
    return np.stack(found)


def by_torch_alone(folder: Path, **inputs: Any) -> Any:
    """Logits of model.pt2 in a process of its own."""
    np.savez(folder.parent / "inputs.npz", **inputs)
    paths = [str(folder), str(folder.parent / "inputs.npz"), str(folder.parent / "answers.npy")]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ONLY_TORCH, *paths], capture_output=True, text=True, cwd=folder.parent, env=clean
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder.parent / "answers.npy")


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def require_predictions(result: Any, classes: list[str], logits: Any) -> None:
    """`dlkit predict` says the same of each input as these logits."""
    assert result.code == 0, result.err
    for named, row in zip(result.probabilities, softmax(logits).tolist(), strict=True):
        assert named == pytest.approx(dict(zip(classes, row, strict=True)), abs=1e-5)


def test_torch_alone_predicts_images(here: Any, images: Path, photos: Path, tmp_path: Path) -> None:
    """From pixels, with what is written and nothing else."""
    folder = tmp_path / "program"
    result = here("export", str(images), str(folder), "--format", "torch-export")
    assert result.code == 0 and result.err == "", result.err
    record = result.record
    assert record["files"] == sorted(file.name for file in folder.iterdir()) == ["model.json", "model.pt2"]
    assert record["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert (record["format"], record["classes"], record["run"]) == ("torch-export", 3, str(images))
    known = json.loads((folder / "model.json").read_text())
    assert known["inputs"]["pixels"] == {"dtype": "uint8", "shape": ["batch", 3, 32, 32]}
    files = sorted(photos.glob("*/*"))
    logits = by_torch_alone(folder, pixels=pixels_of(files, known["preprocessing"]["size"][0]))
    require_predictions(here("predict", str(images), str(photos)), known["classes"], logits)
