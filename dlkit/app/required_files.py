"""The data and the weights that a recipe names: what is missing shows at once, before anything heavy is imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dlkit import recipe as recipes
from dlkit import user_code
from dlkit.catalog import TASKS, find_entry
from dlkit.data import store
from dlkit.data.hub.place import require_hub_place
from dlkit.errors import DlkitError, RequestError
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.text_input import special_kind

# Where the hub keeps the models whose bare names people know.
_HUB_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
    "openai-gpt": "openai-community/openai-gpt",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
}


def require_data(recipe: Recipe) -> None:
    """Raise DlkitError if the data that a recipe is about is not there, with the command that downloads it."""
    data = recipe.values["data"]
    needed = find_entry("data", data["name"]).download.format_map(data)
    if needed:
        store.require_dataset(needed)
    if data["name"] == "hub":
        require_hub_place(data["path"])
    else:
        _require(recipe, "data", "path", "data.path says where the data is")


def require_weights(recipe: Recipe) -> None:
    """Raise DlkitError if the weights that training starts from are not there."""
    hint = "model.weights says what the model begins with"
    if TASKS[recipe.values["task"]].inputs == "text" and recipe.values["model"].get("weights"):
        place: str = os.path.relpath(str(recipe.values["model"]["weights"]))
        own = place if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", place) else "OWNER/NAME"
        of = _HUB_NAMES.get(Path(place).name, own)
        hint = f"hf download {of} --local-dir {place}"
    _require(recipe, "model", "weights", hint)


def require_language_run(reference: str) -> None:
    """Raise RequestError for a run of images or rows where one of a BERT or GPT is wanted, before torch is imported.

    A reference from standard input, a Hugging Face directory and a damaged recipe are checked later, on opening.
    """
    run_reference.require_reference(reference)
    if reference == "-" or (Path(reference) / "config.json").is_file():
        return
    run = run_reference.resolve_run(reference)
    try:
        values = recipes.load(str(run.recipe), unchecked_code=True).values
    except DlkitError:
        return
    if TASKS[values["task"]].inputs != "text":
        raise run_reference.no_language_run(run.path)
    if user_code.is_reference(values["model"]["name"]):
        raise run_reference.own_language_model(run.path, values["model"]["name"])


def _require(recipe: Recipe, section: str, key: str, hint: str) -> None:
    path = recipe.values[section].get(key)
    if path is not None and not Path(path).exists():
        raise DlkitError(f"no such file or folder: {path}", hint)
    if path is not None and (kind := special_kind(Path(path))):
        raise RequestError(f"{section}.{key}: {path} is {kind}, neither a file nor a folder", "give a path of one")
