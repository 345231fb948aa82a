"""The architecture and tokenizer of a language model: those of its pretrained weights, or else the recipe's."""

from __future__ import annotations

import functools
from typing import Any

from dlkit import user_code
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, MASKED, Tokenizer
from dlkit.errors import RequestError
from dlkit.pretrained.huggingface_config import Family
from dlkit.pretrained.weights import LanguageWeights
from dlkit.recipe import Recipe
from dlkit.recipe.components import components

_RECIPES = ("dropout", "attention_dropout", "pooling")  # keys that a recipe may change of a pretrained architecture


def language_architecture(recipe: Recipe, weights: LanguageWeights | None, family: Family) -> dict[str, Any]:
    """The keyword arguments of the model's constructor.

    Raises:
        RequestError: the weights have another family or size than the recipe's model, or too small a context.
    """
    values = recipe.values["model"]
    (constructor, keys), _ = components("model", values)
    window: int = recipe.values["data"]["context"]
    preset = constructor.keywords if isinstance(constructor, functools.partial) else {}
    found = {**preset, **keys}
    if weights is not None:
        if weights.family != family:
            raise RequestError(
                f"{weights.path} holds a {weights.family}, not a {family}", f"model.name={weights.family}"
            )
        for key, value in preset.items():
            if weights.architecture.get(key, value) != value:
                raise RequestError(
                    f"{weights.path} has {key}: {weights.architecture[key]}, {values['name']} has {value}",
                    f"model.name={family} takes the sizes of the checkpoint",
                )
        _require_activation(weights, found["activation"])
        found |= {key: value for key, value in weights.architecture.items() if key not in _RECIPES}
    found["context"] = found["context"] or window
    if found["context"] < window:
        raise RequestError(
            f"data.context is {window}, more than the {found['context']} tokens that the model takes",
            "lower data.context",
        )
    return found


def _require_activation(weights: LanguageWeights, wanted: str) -> None:
    """Raise RequestError if the weights have an activation from user code, and the recipe another."""
    trained = weights.architecture.get("activation")
    if user_code.is_reference(trained) and not user_code.same_value(trained, wanted):
        raise RequestError(
            f"{weights.path} was trained with an activation of your own, {user_code.split_reference(str(trained))[1]}",
            f"model.activation={trained}",
        )


def language_tokenizer(recipe: Recipe, texts: list[Text], weights: LanguageWeights | None, family: Family) -> Tokenizer:
    """The recipe's tokenizer, trained on `texts` if necessary, or that of the weights.

    Raises:
        RequestError: the weights were trained with other tokens.
    """
    values, causal = recipe.values["tokenizer"], family == "gpt"
    if values["name"] == "auto" and weights is not None:
        found = weights.tokenizer()
    else:
        section = {"name": "bpe" if causal else "wordpiece"} if values["name"] == "auto" else values
        (constructor, keys), _ = components("tokenizer", section)
        found = constructor(texts, CAUSAL if causal else MASKED, **keys)
    if weights is None:
        return found
    if found.size > weights.vocabulary:
        raise RequestError(
            f"the tokenizer has {found.size} tokens, the model in {weights.path} knows {weights.vocabulary}",
            "leave the tokenizer out: a checkpoint brings its own",
        )
    if weights.has_tokenizer and weights.tokenizer().fingerprint != found.fingerprint:
        raise RequestError(
            f"tokenizer.name is {values['name']}, whose tokens are not those that {weights.path} was trained on",
            "leave the tokenizer out (~tokenizer): a checkpoint brings its own",
        )
    return found
