"""What a language model begins with: weights, their architecture and their tokenizer, or the recipe's."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from dlkit.assemble.components import parts
from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text import tokenizer_files
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, MASKED, Tokenizer
from dlkit.errors import DlkitError, RequestError
from dlkit.pretrained import huggingface
from dlkit.pretrained.huggingface import HubModel
from dlkit.recipe import Recipe
from dlkit.storage import run_reference
from dlkit.train import checkpoint
from dlkit.train.finite import require_finite_weights


def open_weights(path: Path) -> HubModel:
    """A Hugging Face directory, or a run of dlkit, as weights to begin with.

    Raises:
        DlkitError: it is damaged, not finite, or of an architecture that dlkit does not have.
        RequestError: it is neither.
    """
    if (path / "config.json").is_file():
        hub = huggingface.read(path)
        if hub.family == "gpt":
            hub.ends |= tokenizer_files.ends_of(path, tokenizer_files.from_directory(path))
        return hub
    run = run_reference.resolve(str(path))
    saved = checkpoint.load_checkpoint(run.choose(), files=("model", "ema"))
    described = saved.state["data"]
    if "architecture" not in described:
        raise DlkitError(f"{path} is no BERT or GPT", "model.weights takes a run of a language task")
    family = "gpt" if described["task"] == "causal-lm" else "bert"
    tensors = saved.weights
    require_finite_weights(tensors, path)
    head = tensors.get("head.classifier.bias")
    return HubModel(
        path,
        family,
        described["vocabulary"],
        described["architecture"],
        tensors,
        tokenizer=described["tokenizer"],
        labels=tuple(described.get("classes", ())),
        outputs=None if head is None else len(head),
        problem=None if head is None or len(head) > 1 else "regression",
        ends=set(described.get("ends", ())),
    )


def architecture(recipe: Recipe, hub: HubModel | None) -> dict[str, Any]:
    """The keywords of the model's constructor: the recipe's, or the checkpoint's where there is one."""
    values = recipe.values["model"]
    (constructor, keys), _ = parts("model", values)
    window: int = recipe.values["data"]["context"]
    bound = constructor.keywords if isinstance(constructor, functools.partial) else {}
    found = {**bound, **keys}
    if hub is not None:
        wanted = "gpt" if values["name"].startswith("gpt") else "bert"
        if hub.family != wanted:
            raise RequestError(f"{hub.path} holds a {hub.family}, not a {wanted}", f"model.name={hub.family}")
        for key, value in bound.items():
            if hub.architecture.get(key, value) != value:
                raise RequestError(
                    f"{hub.path} has {key}: {hub.architecture[key]}, {values['name']} has {value}",
                    f"model.name={wanted} takes the sizes of the checkpoint",
                )
        kept = ("dropout", "attention_dropout", "pooling")  # what a recipe may change
        found |= {key: value for key, value in hub.architecture.items() if key not in kept}
    found["context"] = found["context"] or window
    if found["context"] < window:
        raise RequestError(
            f"data.context is {window}, more than the {found['context']} tokens that the model takes",
            "lower data.context",
        )
    return found


def tokenizer(recipe: Recipe, texts: list[Text], hub: HubModel | None) -> Tokenizer:
    """The recipe's tokenizer, or the checkpoint's. Raises RequestError where they do not go together."""
    values, causal = recipe.values["tokenizer"], recipe.values["task"] == "causal-lm"
    if values["name"] == "auto" and hub is not None:
        found = tokenizers.from_json(hub.tokenizer) if hub.tokenizer else tokenizer_files.from_directory(hub.path)
    else:
        section = {"name": "bpe" if causal else "wordpiece"} if values["name"] == "auto" else values
        (constructor, keys), _ = parts("tokenizer", section)
        found = constructor(texts, CAUSAL if causal else MASKED, **keys)
    if hub is not None and found.size > hub.vocabulary:
        raise RequestError(
            f"the tokenizer has {found.size} tokens, the model in {hub.path} knows {hub.vocabulary}",
            "leave `tokenizer` out: a checkpoint brings its own",
        )
    if hub is not None and (hub.tokenizer or (hub.path / "tokenizer.json").is_file()):
        own = tokenizers.from_json(hub.tokenizer) if hub.tokenizer else tokenizer_files.from_directory(hub.path)
        if own.fingerprint != found.fingerprint:
            raise RequestError(
                f"tokenizer.name is {values['name']}, whose tokens are not those that {hub.path} was trained on",
                "leave `tokenizer` out (~tokenizer): a checkpoint brings its own",
            )
    return found
