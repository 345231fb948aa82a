"""Every model of the catalog as a graph: ONNX Runtime and torch.export answer as the model does, at other sizes too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.catalog import MODELS, import_object
from dlkit.export.exportable import Exportable
from dlkit.export.formats import FORMATS
from dlkit.export.graphs import DecoderGraph, EncoderGraph, PixelGraph, RowGraph

BATCH, SEQUENCE = {0: "batch"}, {0: "batch", 1: "sequence"}
# the same layers as others, and more of them, which take minutes each: DLKIT_LARGE_MODELS=1 tries them too
LARGE = {
    "resnet56", "resnet110", "plain56", "resnet101", "resnet152", "convnext_small", "convnext_base", "convnext_large",
    "bert_base", "bert_large", "gpt2_medium",
} if os.environ.get("DLKIT_LARGE_MODELS") != "1" else set[str]()  # fmt: skip
LARGE |= {"gpt2_large", "gpt2_xl"}  # above the 2 GB of a file: their weights lie beside it, in gigabytes of memory
VISION = [name for name, entry in MODELS.items() if "image-classification" in entry.tasks and name not in LARGE]
LANGUAGE = [name for name in MODELS if name not in LARGE and "image-classification" not in MODELS[name].tasks]
BY_TORCH = {"resnet20", "fast_cnn", "convnext_nano", "gpt", "bert_tiny"}  # ONNX begins as a program of torch.export


def in_formats(names: list[str]) -> list[tuple[str, str]]:
    return [(name, "onnx") for name in names] + [(name, "torch-export") for name in names if name in BY_TORCH]


def exportable(name: str, model: torch.nn.Module, graph: Any, examples: dict[str, Any], output: Any) -> Exportable:
    """What `dlkit export` would make of a run."""
    axes = BATCH if "pixels" in examples or "rows" in examples else SEQUENCE
    return Exportable(
        path=Path(name),
        task="",
        name=name,
        model=model,
        graph=graph.eval(),
        examples=examples,
        axes=dict.fromkeys(examples, axes),
        limits={} if axes is BATCH else {"sequence": 16},
        output_axes=output,
        preprocessing={},
    )


def require_equal(found: Exportable, folder: Path, format: str) -> None:
    """At a batch of one and at one of five, and at other lengths of texts."""
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    import_object(FORMATS[format].writer)(found, folder)
    answer = runtime(folder) if format == "onnx" else program(folder)
    for count in (1, 5):
        inputs = {name: value[:1].repeat(count, *[1] * (value.dim() - 1)) for name, value in found.examples.items()}
        if found.limits:
            inputs = {name: torch.cat([value] * 2, 1)[:, : 3 * count] for name, value in inputs.items()}
        with torch.no_grad():
            expected = found.graph(**inputs)
            # rounding grows with the depth: the logits of untrained deep networks are in the hundreds
            scale = max(1.0, expected.abs().max().item())
            torch.testing.assert_close(answer(inputs), expected, rtol=0, atol=1e-5 * scale)


def runtime(folder: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return lambda inputs: torch.from_numpy(session.run(None, {n: value.numpy() for n, value in inputs.items()})[0])


def program(folder: Path) -> Any:
    graph = torch.export.load(folder / "model.pt2").module()
    return lambda inputs: graph(**inputs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "format"), in_formats(VISION))
def test_networks_for_images(tmp_path: Path, name: str, format: str) -> None:
    torch.manual_seed(0)
    model = import_object(MODELS[name].target)((3, 64, 64), 5).eval()
    for module in model.modules():  # factors that start near 0 would hide what they scale
        if isinstance(getattr(module, "gamma", None), torch.nn.Parameter):
            torch.nn.init.constant_(module.gamma, 0.5)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    graph = PixelGraph(model, torch.full((3,), 120.0), torch.full((3,), 60.0), lambda network, x: network(x))
    require_equal(exportable(name, model, graph, {"pixels": pixels}, BATCH), tmp_path, format)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "format"), in_formats(LANGUAGE))
def test_language_models(tmp_path: Path, name: str, format: str) -> None:
    """Encoders with both of their heads."""
    torch.manual_seed(0)
    token_ids = torch.randint(0, 90, (2, 8))
    constructor, gpt = import_object(MODELS[name].target), "causal-lm" in MODELS[name].tasks
    for heads in [()] if gpt else [(None,), (3,)]:
        model = constructor(90, 16, *heads, context=16).eval()
        mask = torch.ones_like(token_ids)
        mask[0, 6:] = 0
        examples = {"input_ids": token_ids}
        if not gpt:
            examples |= {"token_type_ids": torch.arange(8).expand(2, 8) % 2, "attention_mask": mask}
        graph = DecoderGraph(model) if gpt else EncoderGraph(model)
        output = BATCH if heads == (3,) else SEQUENCE
        require_equal(exportable(name, model, graph, examples, output), tmp_path, format)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "none"])
def test_perceptrons_of_rows(tmp_path: Path, norm: str) -> None:
    torch.manual_seed(0)
    model = import_object(MODELS["mlp"].target)((5,), 3, hidden=(8,), norm=norm, activation="gelu").eval()
    graph = RowGraph(model, torch.ones(5).double(), torch.full((5,), 3.0).double())
    rows = torch.randn(2, 5).double()
    require_equal(exportable("mlp", model, graph, {"rows": rows}, BATCH), tmp_path, "torch-export")
