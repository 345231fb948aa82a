"""A run, a checkpoint or a Hugging Face directory, opened to be written for other programs."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch
from torch import Tensor

from dlkit.app.predict import PredictionRequest
from dlkit.app.predictor import Predictor
from dlkit.data.text.text_columns import columns_of
from dlkit.errors import DlkitError, RequestError
from dlkit.export.exportable import Axes, Exportable
from dlkit.export.graphs import DecoderGraph, EncoderGraph, PixelGraph, RowGraph
from dlkit.lm.language_model import LanguageModel, open_language_model
from dlkit.models.bert import BERT
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.training.test_time_augmentation import averaged_logits

_BATCH = {0: "batch"}
_SEQUENCE = {0: "batch", 1: "sequence"}
_TRACED_TOKENS = 8


def exportable_language(reference: str, checkpoint: str | None, recipe: Recipe | None) -> Exportable:
    """A BERT or GPT.

    Args:
        reference: of a run, a checkpoint or a Hugging Face directory.
        checkpoint: of a run; None for the best, or else the last.
        recipe: of the run.

    Raises:
        DlkitError: it is damaged, or lacks a part that was never trained.
    """
    return exportable_texts(open_language_model(reference, torch.device("cpu"), checkpoint), recipe)


def exportable_texts(opened: LanguageModel, recipe: Recipe | None = None) -> Exportable:
    """The same of a model that is open."""
    if opened.fresh:
        raise DlkitError(
            f"{opened.path} lacks {', '.join(opened.fresh)}: an export would hold values that nobody trained",
            "train a head first: model.weights=DIR in a recipe",
        )
    model: Any = opened.model
    generator = torch.Generator().manual_seed(0)
    length = min(_TRACED_TOKENS, model.context)
    token_ids = torch.randint(0, model.vocabulary, (2, length), generator=generator)  # (N, T)
    examples, graph = {"input_ids": token_ids}, DecoderGraph(model)
    if isinstance(model, BERT):
        real = torch.ones_like(token_ids)
        real[1, length // 2 + 1 :] = 0
        examples |= {"token_type_ids": torch.zeros_like(token_ids), "attention_mask": real}
        graph = EncoderGraph(model)
    return Exportable(
        path=opened.path,
        task=opened.task,
        name="bert" if isinstance(model, BERT) else "gpt",
        model=model,
        graph=graph.eval(),
        examples=examples,
        axes=dict.fromkeys(examples, _SEQUENCE),
        limits={"sequence": model.context},
        output_axes=_BATCH if opened.classifies else _SEQUENCE,
        preprocessing=_of_texts(opened, model, recipe),
        classes=opened.classes,
        tokenizer=opened.tokenizer,
        ends=opened.ends,
        data={} if recipe is None else _read_texts(recipe),
    )


def _of_texts(opened: LanguageModel, model: Any, recipe: Recipe | None) -> dict[str, Any]:
    """How a text becomes token ids."""
    tokenizer = opened.tokenizer
    begin, end = (tokenizer.special(name) for name in ("[CLS]", "[SEP]"))
    context = model.context if recipe is None else recipe.values["data"].get("context", model.context)
    found: dict[str, Any] = {"kind": "text", "tokenizer": "tokenizer.json", "context": context}
    if opened.causal:
        return {**found, "begin": tokenizer.separator, "ends": sorted(opened.ends)}
    apart = tokenizer.separators
    return {
        **found,
        "begin": begin,
        "separator": end,
        "separators_of_a_pair": apart,
        "padding": tokenizer.special("[PAD]") or 0,
        "layout": f"begin text separator; begin text {'separator ' * apart}pair separator; without special tokens of "
        "the tokenizer; of a text too long the end is cut, of a pair the last token of the longer one (of two as "
        "long, the first) until they fit",
        "token_type_ids": "0; 1 behind the first text's separators",
        "attention_mask": "1; 0 for padding",
    }


def exportable_array(request: PredictionRequest) -> Exportable:
    """A network for images or rows. Raises DlkitError where the checkpoint is damaged."""
    predictor = Predictor(request.recipe, request.checkpoint, torch.device("cpu"))
    model = predictor.trained.model.float().to(memory_format=torch.contiguous_format)  # pyright: ignore
    of_kind = _of_images if request.kind == "images" else _of_rows
    return of_kind(request, predictor, model)


def _of_images(request: PredictionRequest, predictor: Predictor, model: Any) -> Exportable:
    inputs: Any = predictor.inputs  # NewImages
    mean, std = inputs.mean, inputs.std  # (C,)
    views = predictor.task.views
    generator = torch.Generator().manual_seed(0)
    shape = inputs.data.input_shape
    pixels = torch.randint(0, inputs.view.white + 1, (2, *shape), generator=generator).byte()  # (N, C, H, W)
    graph = PixelGraph(model, mean, std, functools.partial(_viewed, views=views))
    preprocessing = {
        "kind": "image",
        "color": "L" if shape[0] == 1 else "RGB",
        **inputs.view.describe(),
        "layout": "channels, rows, columns",
        "mean": mean.tolist(),
        "std": std.tolist(),
        "views": views,
    }
    return _arrays(
        request, model, graph, {"pixels": pixels}, preprocessing, predictor.classes, normalisation=(mean, std)
    )


def _viewed(model: Any, images: Tensor, views: Any) -> Tensor:
    return averaged_logits(model, images, views)


def _of_rows(request: PredictionRequest, predictor: Predictor, model: Any) -> Exportable:
    inputs: Any = predictor.inputs  # NewRows
    known = inputs.data.describe()
    columns = known.get("columns") or [{"name": name, "type": kind} for name, kind in inputs.columns.items()]
    mean, std = (torch.tensor(known[key], dtype=torch.float64) for key in ("mean", "std"))  # (F,)
    generator = torch.Generator().manual_seed(0)
    rows = mean + std * torch.randn(2, len(mean), generator=generator, dtype=torch.float64)  # (N, F)
    for place, column in enumerate(columns):
        if "categories" in column:  # which are numbered from 1
            rows[:, place] = torch.tensor([0, len(column["categories"])])
    target = known.get("target")  # of a regression
    asked = request.recipe.values["data"]
    preprocessing = {
        "kind": "rows",
        "columns": columns,
        "values": "numbers; true is 1, false 0; a category is its place in `categories`, from 1, and 0 is none of them",
        **{key: asked[key] for key in ("missing", "unknown") if key in asked},
        "mean": known["mean"],
        "std": known["std"],
    }
    scale = None if target is None else (target["mean"], target["std"])
    graph = RowGraph(model, mean, std, scale)
    return _arrays(request, model, graph, {"rows": rows}, preprocessing, predictor.classes, target=scale)


def _arrays(
    request: PredictionRequest,
    model: Any,
    graph: Any,
    examples: dict[str, Tensor],
    preprocessing: dict[str, Any],
    classes: tuple[str, ...],
    normalisation: tuple[Tensor, Tensor] | None = None,
    target: tuple[float, float] | None = None,
) -> Exportable:
    axes: Axes = dict.fromkeys(examples, _BATCH)
    (_, keys), *_ = components("model", request.recipe.values["model"])
    return Exportable(
        path=request.run,
        task=request.recipe.values["task"],
        name=request.recipe.values["model"]["name"],
        model=model,
        graph=graph.eval(),
        examples=examples,
        axes=axes,
        output="logits" if target is None else "value",
        target=target or (0.0, 1.0),
        output_axes=_BATCH,
        preprocessing=preprocessing,
        classes=classes,
        normalisation=normalisation,
        architecture=keys if normalisation else {},
    )


def _read_texts(recipe: Recipe) -> dict[str, Any]:
    """How a run reads texts, as keys of a recipe's `data`."""
    values = recipe.values["data"]
    found: dict[str, Any] = {"context": values["context"]}
    if recipe.values["task"] == "text-classification":
        with contextlib.suppress(RequestError):  # one that chooses among candidates has no such columns
            names = columns_of(values).names
            found |= dict(zip(("text", "pair"), names, strict=False)) if len(names) < 3 else {}
    return found
