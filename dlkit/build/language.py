"""A recipe whose inputs are tokens, as objects: tokenizer, tokens, model, task."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit import runs
from dlkit.build.parts import parts, read_data
from dlkit.data import tokenizer as tokenizers
from dlkit.data.corpus import Corpus, Text
from dlkit.data.labelled import LabelledTexts
from dlkit.data.sentences import running_text
from dlkit.data.sequences import SequenceBatches
from dlkit.data.splits import whole
from dlkit.data.tokenizer import CAUSAL, MASKED, Tokenizer
from dlkit.data.tokens import Tokens, tokens_of
from dlkit.data.windows import MaskedWindows, Special, TokenWindows
from dlkit.errors import DlkitError, RequestError
from dlkit.losses import SquaredError
from dlkit.models import checkpoints
from dlkit.models.checkpoints import HubModel
from dlkit.recipe import Recipe
from dlkit.train import checkpoint
from dlkit.train.language import CausalLM, MaskedLM
from dlkit.train.loop import Batches, Task
from dlkit.train.sequences import MultipleChoice, Regression, TextClassification


class LanguageData:
    """What a recipe on tokens is about: a tokenizer, the architecture of its model, and its data.

    Args:
        recipe: of a task whose inputs are tokens.
        texts: to learn a tokenizer from, if need be.
        saved: the description in a checkpoint, whose tokenizer and architecture are then used.
    """

    name: str
    splits: list[str]
    sources: dict[str, Any]
    classes: tuple[str, ...] = ()
    outputs: int | None = None  # of the model's head; None where it predicts tokens

    def __init__(self, recipe: Recipe, texts: list[Text], saved: dict[str, Any] | None = None) -> None:
        self.task: str = recipe.values["task"]
        self.hub: HubModel | None = None
        self.remarks: list[str] = []  # what of the pre-trained weights was not there
        if saved is not None:
            self.tokenizer = tokenizers.from_json(saved["tokenizer"])
            self.architecture: dict[str, Any] = saved["architecture"]
            self.vocabulary: int = saved["vocabulary"]
            return
        _, [(_, begin)] = parts("model", recipe.values["model"])
        if begin["weights"] is not None:
            self.hub = open_weights(Path(begin["weights"]))
        self.architecture = _architecture(recipe, self.hub)
        self.tokenizer = _tokenizer(recipe, texts, self.hub)
        self.vocabulary = self.hub.vocabulary if self.hub else self.tokenizer.size

    def batches(self, recipe: Recipe, split: str, device: torch.device, training: bool) -> Batches:
        """Batches of a split."""
        raise NotImplementedError

    def take_whole(self) -> None:
        """Call the data "all", of which nothing is held out, unless it comes in splits of its own."""
        raise NotImplementedError

    def objective(self, loss: nn.Module) -> Task:
        """What is learned."""
        raise NotImplementedError

    @property
    def description(self) -> dict[str, Any]:
        """What a checkpoint must know to be used without the recipe's data."""
        return {
            "task": self.task,
            "tokenizer": self.tokenizer.to_json(),
            "vocabulary": self.vocabulary,
            "architecture": self.architecture,
        }

    def untrained(self, recipe: Recipe) -> nn.Module:
        """The recipe's model with random weights."""
        (constructor, _), _ = parts("model", recipe.values["model"])
        heads = () if self.task == "causal-lm" else (self.outputs,)
        return constructor(self.vocabulary, self.architecture["context"], *heads, **self.architecture)

    def model(self, recipe: Recipe) -> nn.Module:
        """The recipe's model with random weights, or the checkpoint's where it begins with one."""
        model = self.untrained(recipe)
        if self.hub is not None:
            fresh = checkpoints.load_into(model, self.hub)
            self.remarks = [f"{self.hub.path} does not have {', '.join(fresh)}: they start anew"] if fresh else []
        return model


class CorpusData(LanguageData):
    """Running text, for causal and masked language models.

    Args:
        recipe: of such a task.
        folder: for token files of large texts.
        saved: see `LanguageData`.
    """

    def __init__(self, recipe: Recipe, folder: Path, saved: dict[str, Any] | None = None) -> None:
        (constructor, keys), _ = parts("data", recipe.values["data"])
        self.corpus: Corpus = constructor(**keys)
        super().__init__(recipe, [self.corpus.splits["train"]], saved)
        self.name, self.splits, self.folder = self.corpus.name, list(self.corpus.splits), folder
        self._tokens: dict[str, Tokens] = {}

    def take_whole(self) -> None:
        self.corpus = dataclasses.replace(self.corpus, splits=whole(self.corpus.splits))
        self.splits = list(self.corpus.splits)

    @property
    def sources(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        counted = {split: len(tokens) for split, tokens in self._tokens.items()}
        tokenizer = {"tokens": self.tokenizer.size, "sha256": self.tokenizer.fingerprint}
        return {**self.corpus.sources, "tokens": counted, "tokenizer": tokenizer}

    def tokens(self, split: str) -> Tokens:
        """The tokens of a split, behind a separator where the next token is to be predicted."""
        if split not in self._tokens:
            before = self.tokenizer.separator if self.task == "causal-lm" else None
            self._tokens[split] = tokens_of(self.corpus.splits[split], self.tokenizer, self.folder, before)
        return self._tokens[split]

    def batches(self, recipe: Recipe, split: str, device: torch.device, training: bool) -> TokenWindows:
        """Windows of a split."""
        _, [(windows, keys), (masked, masked_keys)] = parts("data", recipe.values["data"])
        arguments = (self.tokens(split), device, recipe.values["seed"], training)
        if self.task == "causal-lm":
            return windows(*arguments, **keys)
        special: Any = special_tokens(self.tokenizer)
        found: MaskedWindows = masked(*arguments, special, **masked_keys)
        return found

    def objective(self, loss: nn.Module) -> CausalLM:
        """What is learned."""
        if self.task == "masked-lm":
            return MaskedLM(loss)
        lengths = [len(self.tokenizer.bytes_of(i)) for i in range(self.tokenizer.size)] if self.exact else None
        padded = None if lengths is None else torch.tensor(lengths + [0] * (self.vocabulary - len(lengths)))
        return CausalLM(loss, padded)

    @property
    def exact(self) -> bool:
        """Whether tokens stand for bytes, so that bits a byte are the length of a description of the text."""
        return self.tokenizer.byte_level


class LabelledData(LanguageData):
    """Texts with answers, for encoders with a head for whole sequences.

    Args:
        recipe: of a task on labelled texts.
        saved: see `LanguageData`.

    Raises:
        DlkitError: the answers are not those that the checkpoint knows.
    """

    def __init__(self, recipe: Recipe, saved: dict[str, Any] | None = None) -> None:
        self.data: LabelledTexts = read_data(recipe, saved)
        super().__init__(recipe, [running_text(self.data.splits["train"])], saved)
        self.name, self.splits, self.classes = self.data.name, list(self.data.splits), self.data.classes
        self.outputs = len(self.classes) if self.data.answer == "class" else 1
        if saved is not None and saved["classes"] != list(self.classes):
            raise DlkitError(
                f"{self.name} has the classes {', '.join(self.classes)}; the model knows {', '.join(saved['classes'])}",
                "give the data that the run was trained on",
            )
        self._encoded: dict[str, float] = {}

    def take_whole(self) -> None:
        self.data = dataclasses.replace(self.data, splits=whole(self.data.splits))
        self.splits = list(self.data.splits)

    @property
    def description(self) -> dict[str, Any]:
        return {**super().description, "classes": list(self.classes)}

    @property
    def sources(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        tokenizer = {"tokens": self.tokenizer.size, "sha256": self.tokenizer.fingerprint}
        return {**self.data.sources, "tokenizer": tokenizer, "share_of_tokens_cut": self._encoded}

    def batches(self, recipe: Recipe, split: str, device: torch.device, training: bool) -> SequenceBatches:
        """Batches of a split."""
        _, [(sequences, keys)] = parts("data", recipe.values["data"])
        examples = self.data.splits[split]
        found: SequenceBatches = sequences(examples, self.tokenizer, device, recipe.values["seed"], training, **keys)
        self._encoded[split] = found.encoded.lost
        return found

    def objective(self, loss: nn.Module) -> Task:
        """What is learned."""
        if self.data.answer == "number":
            if not isinstance(loss, SquaredError):
                raise RequestError(f"{self.name} asks for numbers, not classes", "loss.name=squared_error")
            return Regression(loss)
        if isinstance(loss, SquaredError):
            raise RequestError(f"{self.name} asks for classes, not numbers", "loss.name=cross_entropy")
        if self.data.answer == "candidate":
            return MultipleChoice(loss, self.classes, self.data.metrics)
        return TextClassification(loss, self.classes, self.data.metrics)


def special_tokens(tokenizer: Tokenizer) -> Special:
    """The numbers that masking needs. Raises DlkitError if the tokenizer lacks one."""
    first, last, mask = (tokenizer.require(name) for name in ("[CLS]", "[SEP]", "[MASK]"))
    return Special(first, last, mask, tokenizer.size, tokenizer.continues)


def open_weights(path: Path) -> HubModel:
    """A Hugging Face directory, or a run of dlkit, as weights to begin with.

    Raises:
        DlkitError: it is damaged, or of an architecture that dlkit does not have.
        RequestError: it is neither.
    """
    if (path / "config.json").is_file():
        return checkpoints.read(path)
    run = runs.resolve(str(path))
    saved = checkpoint.load(run.choose(), files=("model", "ema"))
    described = saved.state["data"]
    if "architecture" not in described:
        raise DlkitError(f"{path} is no BERT or GPT", "model.weights takes a run of a language task")
    family = "gpt" if described["task"] == "causal-lm" else "bert"
    tensors = saved.tensors.get("ema") or saved.tensors["model"]
    return HubModel(
        path, family, described["vocabulary"], described["architecture"], tensors, tokenizer=described["tokenizer"]
    )


def _architecture(recipe: Recipe, hub: HubModel | None) -> dict[str, Any]:
    """The keywords of the model's constructor: the recipe's, or the checkpoint's where there is one."""
    values = recipe.values["model"]
    (constructor, keys), _ = parts("model", values)
    window: int = recipe.values["data"]["context"]
    bound = constructor.keywords if isinstance(constructor, functools.partial) else {}
    architecture = {**bound, **keys}
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
        architecture |= {key: value for key, value in hub.architecture.items() if key not in kept}
    architecture["context"] = architecture["context"] or window
    if architecture["context"] < window:
        raise RequestError(
            f"data.context is {window}, more than the {architecture['context']} tokens that the model takes",
            "lower data.context",
        )
    return architecture


def _tokenizer(recipe: Recipe, texts: list[Text], hub: HubModel | None) -> Tokenizer:
    values, causal = recipe.values["tokenizer"], recipe.values["task"] == "causal-lm"
    if values["name"] == "auto" and hub is not None:
        found = tokenizers.from_json(hub.tokenizer) if hub.tokenizer else tokenizers.from_directory(hub.path)
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
        own = tokenizers.from_json(hub.tokenizer) if hub.tokenizer else tokenizers.from_directory(hub.path)
        if own.fingerprint != found.fingerprint:
            raise RequestError(
                f"tokenizer.name is {values['name']}, whose tokens are not those that {hub.path} was trained on",
                "leave `tokenizer` out (~tokenizer): a checkpoint brings its own",
            )
    return found
