"""A trained language model with its tokenizer, opened to be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError
from dlkit.models.bert import BERT, SequenceHead
from dlkit.models.gpt import GPT
from dlkit.pretrained.huggingface import load_language_weights
from dlkit.pretrained.open_weights import open_language_weights
from dlkit.recipe import load as load_recipe
from dlkit.storage.run_reference import RECIPE
from dlkit.tasks.text_data import language_task
from dlkit.training.precision import supported_precision
from dlkit.training.weights import load_weights


@dataclass(frozen=True)
class LanguageModel:
    """A trained language model with its tokenizer, ready to use.

    Args:
        path: of the run or the directory.
        model: in evaluation mode.
        tokenizer: of the model.
        task: that it was trained for.
        step: of the checkpoint; None for a Hugging Face directory.
        make: makes the same model with random weights.
        classes: the class names of a classifier.
        fresh: parameters of the head that the files lack, which begin anew.
        ends: token ids that end a text.
    """

    path: Path
    model: nn.Module
    tokenizer: Tokenizer
    task: str
    step: int | None
    make: Callable[[], nn.Module]
    classes: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    ends: frozenset[int] = frozenset()

    @property
    def causal(self) -> bool:
        """Whether it predicts the next token: a GPT."""
        return isinstance(self.model, GPT)

    @property
    def lacking(self) -> str:
        """What its directory lacks and nobody trained: nothing, its head, or some of that."""
        head = {name for name, _ in self.model.named_parameters() if name.startswith("head.")}
        return f"a head for {self.task}" if head and head <= set(self.fresh) else ", ".join(self.fresh)

    @property
    def classifies(self) -> bool:
        """Whether it answers for whole sequences: a BERT with such a head."""
        return isinstance(self.model, BERT) and isinstance(self.model.head, SequenceHead)

    def untrained(self, seed: int) -> nn.Module:
        """The same architecture with random weights, on the same device, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self.make()
        return made.to(next(self.model.parameters()).device).eval()


def open_language_model(reference: str, device: torch.device, checkpoint_name: str | None = None) -> LanguageModel:
    """Open a run, a checkpoint or a Hugging Face directory as a model in evaluation mode.

    Raises:
        DlkitError: it is damaged, its tokenizer does not fit the model, or its weights are not finite.
        RequestError: it holds no BERT or GPT.
    """
    weights = open_language_weights(reference, checkpoint_name)
    tokenizer = weights.tokenizer()
    if tokenizer.size > weights.vocabulary:
        raise DlkitError(f"{weights.path}: a tokenizer of {tokenizer.size} tokens, a model of {weights.vocabulary}")
    model, fresh = weights.random_model(), list[str]()
    if weights.own:
        load_weights(model, weights.tensors)
    else:
        fresh = load_language_weights(model, weights)
    return LanguageModel(
        path=weights.path,
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        task=weights.description.get("task") or language_task(weights.family, weights.outputs),
        step=weights.step,
        make=dataclasses.replace(weights, tensors={}).random_model,  # which keeps no weights alive
        classes=weights.classes,
        fresh=tuple(fresh),
        ends=frozenset(weights.ends or {token for token in [tokenizer.separator] if token is not None}),
    )


def weights_format(opened: LanguageModel, device: torch.device) -> str:
    """The precision of weights for generation: `bf16` on a GPU if the run was trained in it, else `fp32`.

    Every token reads all weights from memory, which takes half the time at half the bytes.
    """
    path = opened.path / RECIPE
    if device.type != "cuda" or not path.is_file():
        return "fp32"
    trained = load_recipe(str(path), unchecked_code=True).values["train"]["precision"]
    return "bf16" if supported_precision(trained, device) == "bf16" else "fp32"
