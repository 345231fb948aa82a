"""dlkit export to Hugging Face of networks for images: timm opens the directory, and dlkit import takes it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from dlkit.catalog import MODELS, import_object
from dlkit.export.exportable import Exportable
from dlkit.export.graphs import PixelGraph
from dlkit.export.huggingface import write_hub_directory
from dlkit.export.torchvision_weights import torchvision_counterpart
from dlkit.pretrained.vision import translate


def exportable(name: str, **options: Any) -> Exportable:
    torch.manual_seed(0)
    model = import_object(MODELS[name].target)((3, 64, 64), 3, **options).eval()
    for parameter, value in model.named_parameters():
        if parameter.endswith("gamma"):  # factors that start near 0 would hide what they scale
            torch.nn.init.constant_(value, 0.5)
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 61.0, 62.0])
    return Exportable(
        path=Path(name),
        task="image-classification",
        name=name,
        model=model,
        graph=PixelGraph(model, mean, std, lambda network, images: network(images)).eval(),
        examples={"pixels": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)},
        axes={"pixels": {0: "batch"}},
        output_axes={0: "batch"},
        preprocessing={"kind": "image", "view": "centre crop", "size": [64, 64], "shorter_side": 80},
        classes=("cat", "dog", "eel"),
        normalisation=(mean, std),
    )


NAMES = [
    "resnet18",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "convnext_nano", "convnext_tiny")),
]


@pytest.mark.parametrize("name", NAMES)
def test_timm_answers_alike(tmp_path: Path, name: str) -> None:
    timm = pytest.importorskip("timm")
    found = exportable(name)
    assert write_hub_directory(found, tmp_path) == {"architecture": name}
    network = timm.create_model(name, num_classes=3).eval()
    tensors = load_file(tmp_path / "model.safetensors")
    network.load_state_dict(tensors, strict=True)
    config = json.loads((tmp_path / "config.json").read_text())
    seen = config["pretrained_cfg"]
    assert (seen["input_size"], seen["crop_pct"], config["label_names"]) == ([3, 64, 64], 0.8, ["cat", "dog", "eel"])
    mean, std = (torch.tensor(seen[key])[:, None, None] for key in ("mean", "std"))
    pixels = found.examples["pixels"]
    with torch.no_grad():
        expected = found.graph(pixels)
        answers = network((pixels / 255 - mean) / std)
        torch.testing.assert_close(answers, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))
    back = translate(tensors, found.model)
    own = found.model.state_dict()
    assert back.keys() == own.keys() and all(torch.equal(back[key], own[key]) for key in own)


def test_what_is_not_quite_theirs_is_refused() -> None:
    """Weights of the same names and shapes, of a network that computes something else."""
    from dlkit.errors import RequestError

    assert torchvision_counterpart(exportable("resnet18")).constructor == "torchvision.models.resnet18(num_classes=3)"
    for options, why in (
        ({"activation": "gelu"}, "answers as this one does"),
        ({"norm": "group"}, "bn1.num_batches_tracked differs"),
        ({"residual": False}, "differs"),
        ({"stem": "conv3"}, "conv1.weight differs"),
        ({"depths": (1, 1), "widths": (64, 128)}, "torchvision has none with 2 stages"),
    ):
        with pytest.raises(RequestError, match=why):
            torchvision_counterpart(exportable("resnet18", **options))


def test_torchvision_has_the_blocks_that_their_constructor_says() -> None:
    found = torchvision_counterpart(exportable("convnext", depths=(1, 2), widths=(8, 16)))
    made = eval(found.constructor, {"torchvision": torchvision})
    assert made.state_dict().keys() == found.network.state_dict().keys()
    assert found.name is None
