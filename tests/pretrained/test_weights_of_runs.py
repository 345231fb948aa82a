"""Weights of runs: verified, finite, and classes matched by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dlkit.errors import DlkitError, RequestError
from dlkit.models.resnet import ResNet
from dlkit.pretrained.vision import load_pretrained
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.weights import load_weights
from tests.pretrained.shaken_weights import shaken


def small() -> ResNet:
    return ResNet((3, 8, 8), 4, depths=(1, 1), widths=(4, 8))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one checkpoint, which has a moving average."""
    model, average = shaken(small()).state_dict(), {"conv1.weight": torch.full((4, 3, 3, 3), 0.25)}
    folder = tmp_path / "run" / "checkpoints"
    checkpoint.save_checkpoint(folder, Checkpoint(3, {"model": model, "ema": average}, {"data": {}}))
    checkpoint.set_pointer(folder, "last", 3)
    (tmp_path / "run" / "recipe.yaml").write_text("task: image-classification\n")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "place", ["", "checkpoints/last", "checkpoints/step-00000003", "checkpoints/last/model.safetensors"]
)
def test_weights_of_a_run_are_verified(place: str, run: Path) -> None:
    model = small()
    assert load_pretrained(model, load_weights, weights=run / place) == []  # our own: nothing is assumed
    averaged = not place.endswith(".safetensors")
    assert bool((model.get_parameter("conv1.weight") == 0.25).all()) == averaged
    file = run / "checkpoints" / "last" / "model.safetensors"
    whole = file.read_bytes()
    for content in (whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:], whole[:-4]):
        file.write_bytes(content)
        with pytest.raises(DlkitError, match=r"damaged checkpoint: .*model\.safetensors: its sha256 is not the one"):
            load_pretrained(small(), load_weights, weights=run / place)
    file.write_bytes(whole)
    (file.parent / "manifest.json").unlink()
    with pytest.raises(DlkitError, match=r"damaged checkpoint: .*manifest\.json"):
        load_pretrained(small(), load_weights, weights=run / place)


def test_a_flipped_bit_in_an_archive_of_torch_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "r.pth"
    torch.save(small().state_dict(), file)
    content = bytearray(file.read_bytes())
    place = content.find(small().state_dict()["bn1.weight"].numpy().tobytes())
    content[place + 1] ^= 1
    file.write_bytes(content)
    assert torch.load(file, weights_only=True)  # torch itself does not notice
    with pytest.raises(DlkitError, match="is damaged: the checksum of"):
        load_pretrained(small(), load_weights, weights=file)


def test_what_is_left_out_of_a_file_is_said(tmp_path: Path) -> None:
    state = small().state_dict()
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(1)}}, "param_groups": []}
    torch.save({"state_dict": state, "state_dict_ema": state, "optimizer": optimizer, "epoch": 1}, tmp_path / "r.pth")
    remarks = load_pretrained(small(), load_weights, weights=tmp_path / "r.pth")
    assert remarks[0] == f"{tmp_path / 'r.pth'} also holds state_dict_ema, which is left out"


def test_weights_that_are_not_finite_or_not_clear_are_refused(tmp_path: Path) -> None:
    state = small().state_dict()
    torch.save(state | {"bn1.bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])}, tmp_path / "nan.pth")
    with pytest.raises(DlkitError, match=r"nan\.pth: bn1\.bias holds numbers that are not finite"):
        load_pretrained(small(), load_weights, weights=tmp_path / "nan.pth")
    torch.save(state | {"linear.weight": torch.zeros(4, 8)}, tmp_path / "two.pth")
    with pytest.raises(DlkitError, match=r"two tensors for fc\.weight"):
        load_pretrained(small(), load_weights, weights=tmp_path / "two.pth")


def by_name(model: torch.nn.Module, classes: list[str], x: torch.Tensor) -> dict[str, list[float]]:
    with torch.no_grad():
        return dict(zip(classes, model.eval()(x).T.tolist(), strict=True))


@pytest.fixture
def animals(tmp_path: Path) -> tuple[ResNet, list[str], Path]:
    """A network, its classes and its run."""
    model, classes = small(), ["cat", "dog", "eel", "fox"]
    shaken(model)
    folder = tmp_path / "animals" / "checkpoints"
    checkpoint.save_checkpoint(folder, Checkpoint(1, {"model": model.state_dict()}, {"data": {"classes": classes}}))
    checkpoint.set_pointer(folder, "last", 1)
    return model, classes, tmp_path / "animals"


@pytest.mark.parametrize("place", ["", "checkpoints/last", "checkpoints/last/model.safetensors"])
@pytest.mark.parametrize("classes", [["fox", "cat", "eel", "dog"], ["Eel", "FOX", "cat", "Dog"]])
def test_classes_of_a_run_go_by_name(place: str, classes: list[str], animals: tuple[ResNet, list[str], Path]) -> None:
    theirs, names, run = animals
    model, x = small(), torch.randn(5, 3, 8, 8)
    assert load_pretrained(model, load_weights, classes, weights=run / place) == []
    ours = by_name(model, [name.lower() for name in classes], x)
    assert ours == by_name(theirs, names, x)


def test_other_classes_of_a_run_are_refused_with_both_lists(animals: tuple[ResNet, list[str], Path]) -> None:
    theirs, _, run = animals
    x, others = torch.randn(5, 3, 8, 8), ["elk", "yak", "ape", "cow"]
    with pytest.raises(RequestError, match="has the classes cat, dog, eel, fox; the data has elk, yak, ape, cow"):
        load_pretrained(small(), load_weights, others, weights=run)
    model = small()
    labels = ("cow", "ape", "yak", "elk")
    assert load_pretrained(model, load_weights, others, weights=run, labels=labels) == []
    assert by_name(model, others, x) == by_name(theirs, list(labels), x)
    with pytest.raises(RequestError, match=r"model\.labels has 2 names, .* has 4 outputs"):
        load_pretrained(small(), load_weights, others, weights=run, labels=("cow", "ape"))
    model = small()
    head = model.fc.weight.clone()
    (remark,) = load_pretrained(model, load_weights, others, weights=run, new_head=True)
    assert "model.new_head is set: the last layer starts anew" in remark
    assert torch.equal(model.fc.weight, head)


def test_classes_without_names_go_by_place_and_that_is_told(tmp_path: Path) -> None:
    theirs, x = shaken(small()), torch.randn(5, 3, 8, 8)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    model, classes = small(), ["a", "b", "c", "d"]
    *_, remark = load_pretrained(model, load_weights, classes, weights=tmp_path / "w.pth")
    assert "does not name its classes: 0 as a, 1 as b, 2 as c, 3 as d; model.labels=[...] says otherwise" in remark
    assert by_name(model, classes, x) == by_name(theirs, classes, x)
