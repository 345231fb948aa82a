"""A BERT or GPT from a Hugging Face directory, with its tokenizer and the names of its classes."""

from __future__ import annotations

from typing import Any

from dlkit.app.import_request import ImportRequest, placeholder, text_recipe
from dlkit.app.imported_model import Imported
from dlkit.catalog import find_entry, import_object
from dlkit.errors import DlkitError, RequestError
from dlkit.pretrained.huggingface import load_language_weights
from dlkit.pretrained.open_weights import open_language_weights
from dlkit.pretrained.weights import LanguageWeights
from dlkit.recipe import Recipe
from dlkit.strict_json import json_text
from dlkit.tasks.language_start import language_architecture
from dlkit.tasks.text_data import language_task


def imported_language(request: ImportRequest) -> Imported:
    """Read a Hugging Face directory.

    Raises:
        RequestError: it is not a single-label classifier, or the number of names differs from that of its outputs.
        DlkitError: it is damaged, or dlkit has no such model.
    """
    if request.mean is not None:
        raise RequestError("`mean` and `std` are about images", "leave them out")
    weights = open_language_weights(str(request.path))
    task = language_task(weights.family, weights.outputs)
    _require_single_answer(weights)
    if request.classes is not None and len(request.classes) != (weights.outputs or 0):
        raise RequestError(
            f"{len(request.classes)} names of classes, {request.path} has {weights.outputs or 'no'} outputs",
            "name each output, in their order",
        )
    recipe = _recipe(request, weights, task)
    architecture = language_architecture(recipe, weights, weights.family)
    if task == "text-classification":
        architecture["pooling"] = "first"  # as in transformers
    recipe.values["model"] |= {key: value for key, value in architecture.items() if key in recipe.values["model"]}
    constructor = import_object(find_entry("model", weights.family).target)
    heads = () if weights.family == "gpt" else (weights.outputs,)
    model = constructor(weights.vocabulary, architecture["context"], *heads, **architecture)
    fresh = load_language_weights(model, weights)
    if fresh:
        raise DlkitError(
            f"{request.path} lacks {', '.join(fresh)}: a run of it would hold values that nobody trained",
            f"train a head on it: dlkit train RECIPE model.weights={request.path}",
        )
    description: dict[str, Any] = {
        "task": task,
        "tokenizer": weights.tokenizer().to_json(),
        "vocabulary": weights.vocabulary,
        "architecture": architecture,
        "content": {},
        **({"ends": sorted(weights.ends)} if weights.ends else {}),
    }
    remarks: list[str] = []
    if task == "text-classification":
        description["classes"] = list(request.classes or weights.classes) if weights.outputs != 1 else []
        if request.classes is None and description["classes"][:1] == ["LABEL_0"]:
            remarks.append(f"{request.path} does not name its classes: they are LABEL_0, ...; --classes names them")
    return Imported(recipe, model, description, remarks)


def _require_single_answer(weights: LanguageWeights) -> None:
    independent = weights.problem == "multi_label_classification"
    if independent or (weights.problem == "regression" and weights.outputs != 1):
        raise RequestError(
            f"{weights.path} has problem_type = {weights.problem}: its outputs are not classes of which one is right",
            f"train another head on it: dlkit train RECIPE model.weights={weights.path} model.new_head=true",
        )


def _recipe(request: ImportRequest, weights: LanguageWeights, task: str) -> Recipe:
    """The recipe of a run of the task, for the user's own texts."""
    context = weights.architecture["context"]
    where, seen = f"data.path={placeholder()}", request.known
    window = f"data.context={seen.get('data.context', min(context, 512) if task == 'text-classification' else context)}"
    if task == "causal-lm":
        base, data = "text-gpt", [where, "~tokenizer"]
    elif task == "masked-lm":
        base, data = "pydoc-bert", ["data.name=text", where, "~tokenizer"]
    elif weights.outputs == 1:
        base, data = "glue-bert", ["data.config=stsb", "loss.name=squared_error"]
    else:
        columns = {"text": "text", "label": "label"} | {
            key: seen[f"data.{key}"] for key in ("text", "pair") if f"data.{key}" in seen
        }
        named = [f"data.{key}={json_text(name)}" for key, name in columns.items()]
        base, data = "texts-bert", [f"data.path={placeholder('.csv')}", *named]
    name = request.path.resolve().name
    return text_recipe(base, name, request, f"model.name={weights.family}", *data, window)
