"""An image model, exported and imported again, gives the numbers that its run gives, and timm the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dlkit.cli.app import run as dlkit


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark pictures in three classes, of several sizes, not what ImageNet's statistics are made for."""
    generator, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for label in ("cat", "dog", "eel"):
        (root / label).mkdir()
        for i in range(4):
            pixels = generator.integers(0, 90, (51 + 7 * i, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    return root


def trained_on(photos: Path, name: str, *changes: str) -> Path:
    run = photos.parent / name
    few = ["data.batch_size=6", "data.size=40", "~train.epochs", "train.steps=2", "optimizer.lr=0.01"]
    assert dlkit(["train", name, f"data.path={photos}", *few, *changes, "--run-dir", str(run), "-q"]) == 0
    return run


@pytest.fixture(scope="module")
def whole(photos: Path) -> Path:
    """A run that sees the centre square of an image, whole, with the statistics of its own data."""
    small = ["model.name=convnext", "model.depths=[1,1]", "model.widths=[8,16]"]
    return trained_on(photos, "images-resnet20", *small)


@pytest.fixture(scope="module")
def streamed(photos: Path) -> Path:
    """A run that cuts 40 pixels out of 50."""
    return trained_on(photos, "imagenet-resnet50", "model.name=resnet18", "data.crop=0.8", "data.workers=0")


def probabilities(here: Any, run: Path, photos: Path) -> list[dict[str, float]]:
    result = here("predict", str(run), str(photos))
    assert result.code == 0, result.err
    return result.probabilities


def test_weights_for_torchvision_come_back_with_the_view_of_their_run(
    here: Any, imported: Any, whole: Path, photos: Path, tmp_path: Path
) -> None:
    """Also where the file in the directory is named: size, mean, deviation and classes are those of the run."""
    expected = probabilities(here, whole, photos)
    folder = tmp_path / "export"
    assert here("export", str(whole), str(folder), "--format", "torchvision", "-q").code == 0
    again = imported(tmp_path / "again", str(folder / "model.pth"))
    assert probabilities(here, again, photos) == [pytest.approx(named, abs=1e-6) for named in expected]
    (folder / "model.json").rename(folder / "other.json")  # alone, the file says nothing of all that
    known = ["model.depths=[1,1]", "model.widths=[8,16]", "--model", "convnext"]
    result = here("import", str(folder / "model.pth"), *known, "--run-dir", str(tmp_path / "alone"))
    assert "does not say how its images are seen" in result.err
    others = [list(named.values()) for named in probabilities(here, tmp_path / "alone", photos)]
    difference = np.subtract(np.sort(others), np.sort([list(named.values()) for named in expected]))
    assert np.abs(difference).max() > 1e-3  # so that the numbers above say something


def test_timm_answers_as_the_run_that_was_exported_and_it_comes_back(
    here: Any, imported: Any, streamed: Path, photos: Path, tmp_path: Path
) -> None:
    """timm by its own constructor and transform, from the directory alone."""
    timm = pytest.importorskip("timm")
    from timm.data import create_transform, resolve_data_config

    hub = tmp_path / "hub"
    assert here("export", str(streamed), str(hub), "-q").code == 0
    network = timm.create_model(f"local-dir:{hub}", pretrained=True).eval()
    see: Any = create_transform(**resolve_data_config(model=network))
    with torch.inference_mode():
        answers = network(torch.stack([see(Image.open(file)) for file in sorted(photos.glob("*/*"))])).softmax(1)
    expected = [dict(zip(("cat", "dog", "eel"), each, strict=True)) for each in answers.tolist()]
    again = imported(tmp_path / "again", str(hub))
    by_file = imported(tmp_path / "by-file", str(hub / "model.safetensors"), "--model", "resnet18")
    for run in (streamed, again, by_file):
        assert probabilities(here, run, photos) == [pytest.approx(named, abs=1e-5) for named in expected], run


def test_a_run_is_no_weights_of_others(here: Any, whole: Path, tmp_path: Path) -> None:
    for named in (whole, whole / "checkpoints" / "last", whole / "checkpoints" / "last" / "model.safetensors"):
        result = here("import", str(named), "--model", "resnet18", "--run-dir", str(tmp_path / "run"))
        assert (result.code, result.out) == (2, "")
        assert "a run" in result.err.splitlines()[0] and f"dlkit predict {whole} INPUT" in result.err


def test_a_checkpoint_without_its_run_keeps_size_and_statistics(
    here: Any, imported: Any, whole: Path, tmp_path: Path
) -> None:
    """Pictures that have the size already look the same in every view."""
    shutil.copytree(whole / "checkpoints" / "last", tmp_path / "checkpoint")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 90, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    known = ["--model", "convnext", "model.depths=[1,1]", "model.widths=[8,16]", "data.crop=1"]
    again = imported(tmp_path / "again", str(tmp_path / "checkpoint"), *known)
    expected = probabilities(here, whole, tmp_path / "photos")
    assert probabilities(here, again, tmp_path / "photos") == [pytest.approx(named, abs=1e-6) for named in expected]
