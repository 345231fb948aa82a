"""The data of tasks on tokens: the tokenizer, and the architecture of the model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dlkit import user_code
from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.corpus import Text
from dlkit.errors import RequestError
from dlkit.pretrained.huggingface import LanguageStart, load_language_weights
from dlkit.pretrained.huggingface_config import Family
from dlkit.pretrained.open_weights import open_language_weights
from dlkit.pretrained.weights import LanguageWeights
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.storage.run_reference import CODE
from dlkit.tasks.language_start import language_architecture, language_tokenizer
from dlkit.tasks.task_data import TaskData


def language_task(family: Family, outputs: int | None) -> str:
    """The task of a model, from its family and the number of outputs of its sequence head, if any."""
    if family == "gpt":
        return "causal-lm"
    return "text-classification" if outputs else "masked-lm"


class TextData(TaskData):
    """Texts as token ids.

    Args:
        recipe: of a task whose inputs are texts.
        texts: to train a tokenizer on, if necessary.
        saved: the description in a checkpoint, whose tokenizer and architecture are then used.
    """

    family: Family = "bert"
    outputs: int | None = None  # of the model's sequence head; None if it predicts tokens

    def __init__(self, recipe: Recipe, texts: list[Text], saved: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.task: str = recipe.values["task"]
        model: dict[str, Any] = recipe.values["model"]
        self.own_model: str | None = model["name"] if user_code.is_reference(model["name"]) else None
        self.start = LanguageStart()
        if not self.own_model:
            _, [(start, keys)] = components("model", model)
            self.start: LanguageStart = start(**keys)
        self.weights: LanguageWeights | None = None  # pretrained
        self.ends: set[int] = set()  # token ids that end a text, if the pretrained weights define them
        if saved is not None:
            self._take_saved(saved, recipe)
            return
        if self.start.weights is not None:
            self.weights = open_language_weights(str(self.start.weights))
            self.ends = self.weights.ends
        elif self.start.new_head or self.start.labels is not None:
            raise RequestError("model.new_head and model.labels are about model.weights, which is not set")
        self.architecture: dict[str, Any]
        if self.own_model:
            self.architecture = {"context": recipe.values["data"]["context"]}
        else:
            self.architecture = language_architecture(recipe, self.weights, self.family)
        self.tokenizer = language_tokenizer(recipe, texts, self.weights, self.family)
        self.vocabulary = self.weights.vocabulary if self.weights else self.tokenizer.size

    def _take_saved(self, saved: dict[str, Any], recipe: Recipe) -> None:
        self.tokenizer = tokenizers.tokenizer_from_json(saved["tokenizer"])
        self.vocabulary = saved["vocabulary"]
        self.ends = set(saved.get("ends", ()))
        if self.own_model:
            window, made_for = recipe.values["data"]["context"], saved["context"]
            if window > made_for:
                raise RequestError(
                    f"data.context is {window}, more than the {made_for} tokens that the model was made for",
                    "lower data.context",
                )
            self.architecture = {"context": made_for}
            return
        self.architecture = saved["architecture"]
        if user_code.is_reference(self.architecture.get("activation")):  # its path is in the recipe
            self.architecture = {**self.architecture, "activation": recipe.values["model"]["activation"]}

    def describe(self) -> dict[str, Any]:
        architecture = self.architecture
        if user_code.is_reference(own := architecture.get("activation")):
            architecture = {**architecture, "activation": user_code.copy_in(CODE, str(own))}  # the run's copy
        if self.own_model:
            described = {"own_model": user_code.copy_in(CODE, self.own_model), **architecture}
        else:
            described = {"architecture": architecture}
        return {
            "task": self.task,
            "tokenizer": self.tokenizer.to_json(),
            "vocabulary": self.vocabulary,
            **described,
            **({"ends": sorted(self.ends)} if self.ends else {}),
        }

    def untrained_model(self, recipe: Recipe) -> nn.Module:
        (constructor, keys), _ = components("model", recipe.values["model"], self.task)
        context = self.architecture["context"]
        if self.own_model:
            heads = () if self.outputs is None else (self.outputs,)
            return constructor(self.vocabulary, context, *heads, **keys)
        heads = () if self.family == "gpt" else (self.outputs,)
        return constructor(self.vocabulary, context, *heads, **self.architecture)

    def initial_model(self, recipe: Recipe) -> tuple[nn.Module, list[str]]:
        model, remarks = self.untrained_model(recipe), list(self.remarks)
        if self.weights is not None:
            fresh = load_language_weights(model, self.weights)
            if fresh:
                remarks.append(f"{self.weights.path} does not have {', '.join(fresh)}: they start anew")
        return model, remarks

    def output_shape(self, batch: Any) -> tuple[int, ...]:
        tokens: Tensor = batch.token_ids  # (B, T)
        if self.outputs is None:
            return (*tokens.shape, self.vocabulary)
        return len(tokens), self.outputs

    @property
    def tokenizer_source(self) -> dict[str, Any]:
        """What identifies the tokenizer, for `sources`."""
        return {"tokens": self.tokenizer.size, "sha256": self.tokenizer.fingerprint}
