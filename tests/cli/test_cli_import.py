"""dlkit import: networks of torchvision and transformers, as these save them, give the same answers as runs."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms._presets import ImageClassification


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator, root = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for label in ("eel", "cat"):  # the model knows a dog too
        (root / label).mkdir()
        for i in range(3):
            pixels = generator.integers(0, 256, (70 + i, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=3).eval()


@pytest.fixture(scope="module")
def file(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.save(network.state_dict(), folder / "resnet18.pth")
    (folder / "names.txt").write_text("cat\ndog\neel\n")
    return folder / "resnet18.pth"


def by_torchvision(network: torch.nn.Module, files: list[Path], **preset: Any) -> torch.Tensor:
    """With the transform that torchvision publishes beside its weights."""
    see = ImageClassification(**{"crop_size": 64, "resize_size": round(64 / 0.875), **preset})
    with torch.inference_mode():
        return network(torch.stack([see(Image.open(file)) for file in files])).softmax(1)


def test_a_file_of_torchvision_answers_as_torchvision(
    here: Any, imported: Any, network: torch.nn.Module, file: Path, photos: Path, tmp_path: Path
) -> None:
    names = str(file.with_name("names.txt"))
    run = imported(tmp_path / "run", str(file), "data.size=64", "--model", "resnet18", "--classes", names)
    files = sorted(photos.glob("*/*"))
    result = here("predict", str(run), str(photos))
    assert result.code == 0, result.err
    expected = by_torchvision(network, files)
    for named, each in zip(result.probabilities, expected.tolist(), strict=True):
        assert named == pytest.approx(dict(zip(("cat", "dog", "eel"), each, strict=True)), abs=1e-5)

    result = here("eval", str(run), f"data.path={photos}")  # classes by name: eel is the last of the three here
    right = [("cat", "dog", "eel")[i] == path.parent.name for i, path in zip(expected.argmax(1), files, strict=True)]
    assert result.record["metrics"]["accuracy"] == pytest.approx(sum(right) / 6)
    wanted = torch.tensor([{"cat": 0, "eel": 2}[path.parent.name] for path in files])
    loss = torch.nn.functional.nll_loss(expected.log(), wanted).item()
    assert result.record["metrics"]["loss"] == pytest.approx(loss, abs=1e-5)
    assert (result.record["n"], result.record["step"]) == (6, 0)

    ood = here("eval", str(run), f"data.path={photos}", "--ood", "noise").records
    assert ood[1]["kind"] == "out-of-distribution"


def test_classes_that_differ_are_both_listed(here: Any, file: Path, photos: Path, tmp_path: Path) -> None:
    result = here("import", str(file), "data.size=64", "--model", "resnet18", "--run-dir", str(tmp_path / "run"))
    assert result.code == 0
    assert "does not name its classes: they are 0 to 2; --classes names them" in result.err
    assert "does not say how its images are seen: they are resized to 73 pixels, and 64 are cut out" in result.err
    assert result.record["remarks"]
    result = here("eval", str(tmp_path / "run"), f"data.path={photos}")
    assert result.code == 1
    assert "the classes cat, eel; the model was trained on" in result.err and "the classes 0, 1, 2" in result.err
    result = here("eval", str(tmp_path / "run"))
    assert (result.code, result.err.splitlines()[1]) == (1, "hint: data.path says where the data is")


def test_a_directory_of_timm_says_how_images_are_seen(
    here: Any, imported: Any, network: torch.nn.Module, photos: Path, tmp_path: Path
) -> None:
    """timm's ResNets have torchvision's names; config.json has size, crop, statistics and labels."""
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    pretrained = {"input_size": [3, 48, 48], "crop_pct": 0.75, "mean": mean, "std": std, "interpolation": "bilinear"}
    config = {
        "architecture": "resnet18",
        "num_classes": 3,
        "pretrained_cfg": pretrained,
        "label_names": ["x", "y", "z"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    run = imported(tmp_path / "run", f"hf:{folder}")
    expected = by_torchvision(network, sorted(photos.glob("*/*")), crop_size=48, resize_size=64, mean=mean, std=std)
    for named, each in zip(here("predict", str(run), str(photos)).probabilities, expected.tolist(), strict=True):
        assert named == pytest.approx(dict(zip("xyz", each, strict=True)), abs=1e-5)


def test_a_directory_of_timm_answers_as_timm(here: Any, imported: Any, photos: Path, tmp_path: Path) -> None:
    """Saved by timm, and seen by its own transform: bicubic, margins rounded down, another activation."""
    timm = pytest.importorskip("timm")
    from timm.data import create_transform, resolve_data_config

    torch.manual_seed(0)
    seen = {"input_size": (3, 50, 50), "crop_pct": 0.95}  # 52.63 pixels
    network = timm.create_model("resnet18", num_classes=3, act_layer="gelu", pretrained_cfg_overlay=seen).eval()
    folder = save_for_hub(network, tmp_path / "hub", act_layer="gelu")
    run = imported(tmp_path / "run", str(folder))
    settings = resolve_data_config(model=network)
    assert (settings["interpolation"], settings["crop_pct"]) == ("bicubic", 0.95)
    see: Any = create_transform(**settings)
    files = sorted(photos.glob("*/*"))
    with torch.inference_mode():
        expected = network(torch.stack([see(Image.open(file)) for file in files])).softmax(1)
    for named, each in zip(here("predict", str(run), str(photos)).probabilities, expected.tolist(), strict=True):
        assert named == pytest.approx(dict(zip("xyz", each, strict=True)), abs=1e-5)
    result = here(
        "train", "images-resnet20", f"data.path={photos}", "model.name=resnet18", f"model.weights={folder}",
        "model.new_head=true", "train.epochs=1", "--run-dir", str(tmp_path / "tuned"),
    )  # fmt: skip
    assert "hub was trained with model.activation=gelu, which this model has not" in result.err


def test_the_labels_of_timm_are_matched_by_name(here: Any, photos: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    folder = save_for_hub(timm.create_model("resnet18", num_classes=2), tmp_path / "hub", names=["eel", "dog"])
    changes = ["model.name=resnet18", f"model.weights={folder}", f"data.path={photos}"]
    result = here("train", "images-resnet20", *changes, "--run-dir", str(tmp_path / "run"))
    assert result.code == 2
    assert "hub has the classes eel, dog; the data has cat, eel" in result.err


@pytest.mark.parametrize(
    ("arguments", "seen", "error"),
    [
        ({"global_pool": "max"}, {}, "dlkit has no resnet18 with global_pool = 'max'"),
        ({"output_stride": 8}, {}, "dlkit has no resnet18 with output_stride = 8"),
        ({"act_layer": "hard_swish"}, {}, "dlkit has no resnet18 with act_layer = 'hard_swish'"),
        ({"in_chans": 1}, {}, "the model takes 1 channels"),
        ({}, {"input_size": [3, 48, 64]}, "images are 48 x 64 pixels"),
    ],
)
def test_what_changes_a_model_of_timm_is_named(
    here: Any, tmp_path: Path, arguments: dict[str, Any], seen: dict[str, Any], error: str
) -> None:
    config = {"architecture": "resnet18", "model_args": arguments, "pretrained_cfg": seen}
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = here("import", str(tmp_path))
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {tmp_path}/config.json: {error}\nhint: ")


def save_for_hub(network: Any, folder: Path, names: Any = "xyz", **arguments: Any) -> Path:
    from timm.models import save_for_hf

    save_for_hf(
        network, str(folder), model_config={"label_names": list(names)}, safe_serialization=True, model_args=arguments
    )
    return folder


def test_an_import_that_fails_leaves_nothing_in_the_way(
    here: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = ["import", str(file), "data.size=64", "--model", "resnet18", "--run-dir", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("dlkit.training.checkpoint.save_tensors", full)
        result = here(*run)
    assert (result.code, result.out) == (1, "")
    assert "no space left on the disk\nhint: free some space, then import again\n" in result.err
    assert not (tmp_path / "run").exists()
    assert here(*run).code == 0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose config.json says what it holds."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["gone.pth", "--model", "resnet18"], 1, "no such file or directory: gone.pth"),
        (["hf:owner/name"], 1, "the model owner/name is not here: no such directory, and nothing downloaded"),
        (["{file}"], 2, "{file} does not say which model it is of"),
        (["{file}", "--model", "resnet19"], 2, "no such model: resnet19 (did you mean resnet18?)"),
        (["{file}", "--model", "resnet34"], 1, "{file}: the weights do not fit the model"),
        (["{file}", "--model", "convnext_tiny"], 1, "{file}: the weights do not fit the model"),
        (["trunk.pth", "--model", "resnet18"], 1, "the weights have no last layer fc.weight"),
        (["{file}", "--model", "resnet18", "--classes", "two.txt"], 2, "2 names of classes, {file} has 3 outputs"),
        (["{file}", "--model", "resnet18", "--classes", "twice.txt"], 2, "twice.txt: the class 'a' appears twice"),
        (["{file}", "--model", "resnet18", "--classes", "gone.txt"], 1, "cannot read gone.txt"),
        (["{file}", "--model", "resnet18", "--mean", "a,b"], 2, "--mean a,b: no numbers"),
        (["{file}", "--model", "resnet18", "--mean", "0,0,0"], 2, "--mean and --std go together"),
        (
            ["{file}", "--model", "resnet18", "--mean", "0,0", "--std", "1,1"],
            2,
            "mean and std are 0.0, 0.0 and 1.0, 1.0",
        ),
        (["{file}", "--model", "resnet18", "data.sise=3"], 2, "1 problem in the recipe"),
        (["{hub}", "--model", "resnet18"], 2, "--model resnet18: {hub}/config.json says what the model is"),
        (["text.pth", "--model", "resnet18"], 1, "text.pth holds more than tensors"),
        (["{file}", "--model", "resnet18", "--run-dir", "full"], 2, "full is not empty and holds no run"),
    ],
)
def test_wrong_requests(
    here: Any,
    file: Path,
    hub: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "twice.txt").write_text('["a", "b", "a"]')
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "trunk.pth")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    result = here("import", *(text.format(file=file, hub=hub) for text in arguments))
    assert (result.code, result.out) == (code, "")
    *_, line, hint = result.err.splitlines() if "hint: " in result.err else [*result.err.splitlines(), "hint: "]
    assert f"error: {error.format(file=file, hub=hub)}" in line
    assert hint.startswith("hint: ")
    assert not (tmp_path / "runs").exists()
