"""A recipe whose inputs are tokens, as objects: tokenizer, tokens, model, task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit.assemble import pretrained
from dlkit.assemble.components import parts, read_data
from dlkit.assemble.labels import with_classes, without_head
from dlkit.data.splits import whole
from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.corpus import Corpus, Text
from dlkit.data.text.labelled import LabelledTexts
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.sentences import running_text
from dlkit.data.text.token_ids import Tokens, gives_back, tokens_of
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.data.text.windows import MaskedWindows, Special, TokenWindows
from dlkit.errors import DlkitError, RequestError
from dlkit.losses import SquaredError
from dlkit.pretrained import huggingface
from dlkit.pretrained.huggingface import HubModel
from dlkit.recipe import Recipe
from dlkit.tasks.language_modelling import CausalLM, MaskedLM
from dlkit.tasks.text_classification import MultipleChoice, Regression, TextClassification
from dlkit.train.interfaces import BatchSource, Task


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
        self.remarks: list[str] = []  # what of the pre-trained weights was not taken as it is
        self.ends: set[int] = set()  # tokens that end a text, where the pre-trained weights say so
        self.left_out: dict[str, str] = {}  # measures that make no sense here: name -> why
        if saved is not None:
            self.tokenizer = tokenizers.from_json(saved["tokenizer"])
            self.architecture: dict[str, Any] = saved["architecture"]
            self.vocabulary: int = saved["vocabulary"]
            self.ends = set(saved.get("ends", ()))
            return
        _, [(_, begin)] = parts("model", recipe.values["model"])
        if begin["weights"] is not None:
            self.hub = pretrained.open_weights(Path(begin["weights"]))
            self.ends = self.hub.ends
        elif begin["new_head"] or begin["labels"] is not None:
            raise RequestError("model.new_head and model.labels are about model.weights, which is not set")
        self.architecture = pretrained.architecture(recipe, self.hub)
        self.tokenizer = pretrained.tokenizer(recipe, texts, self.hub)
        self.vocabulary = self.hub.vocabulary if self.hub else self.tokenizer.size

    def batches(self, recipe: Recipe, split: str, device: torch.device, training: bool) -> BatchSource:
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
            **({"ends": sorted(self.ends)} if self.ends else {}),
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
            fresh = huggingface.load_into(model, self.hub)
            if fresh:
                self.remarks.append(f"{self.hub.path} does not have {', '.join(fresh)}: they start anew")
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
        if recipe.values["model"]["new_head"] or recipe.values["model"]["labels"] is not None:
            raise RequestError(f"model.new_head and model.labels are for classifiers, not for {self.task}")
        self.name, self.splits, self.folder = self.corpus.name, list(self.corpus.splits), folder
        self._tokens: dict[str, Tokens] = {}
        self._measured: set[str] = set()  # splits that are evaluated

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
        if not training:
            self._measured.add(split)
        if self.task == "causal-lm":
            return windows(*arguments, **keys)
        special: Any = special_tokens(self.tokenizer)
        found: MaskedWindows = masked(*arguments, special, **masked_keys)
        return found

    def objective(self, loss: nn.Module) -> CausalLM:
        """What is learned. Bits a byte are measured where the tokens of what is evaluated give back every byte."""
        if self.task == "masked-lm":
            return MaskedLM(loss)
        why = self.inexact
        if why:
            self.left_out["bits_per_byte"] = why
            return CausalLM(loss)
        lengths = [len(self.tokenizer.bytes_of(i)) for i in range(self.tokenizer.size)]
        return CausalLM(loss, torch.tensor(lengths + [0] * (self.vocabulary - len(lengths))))

    @property
    def inexact(self) -> str | None:
        """Why bits a byte would not be the length of a description of the text, or None where they are."""
        if not self.tokenizer.byte_level:
            return "the tokens do not stand for bytes"
        for split in self._measured:
            before = self.task == "causal-lm" and self.tokenizer.separator is not None
            if not gives_back(self.corpus.splits[split], self.tokenizer, self.tokens(split)[int(before) :]):
                return f"the tokenizer changes the text of {split}: its tokens do not give it back"
        return None


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
        if saved is None and self.hub is not None:
            self._take_head(recipe, self.hub)
        if saved is not None and saved["classes"] != list(self.classes):
            raise DlkitError(
                f"{self.name} has the classes {', '.join(self.classes)}; the model knows {', '.join(saved['classes'])}",
                "give the data that the run was trained on",
            )
        self._encoded: dict[str, float] = {}

    def take_whole(self) -> None:
        self.data = dataclasses.replace(self.data, splits=whole(self.data.splits))
        self.splits = list(self.data.splits)

    def _take_head(self, recipe: Recipe, hub: HubModel) -> None:
        """Bring the classes of a pre-trained head into the data's order, and let it see what it saw before."""
        _, [(_, begin)] = parts("model", recipe.values["model"])
        if self.data.answer == "class":
            self.hub, self.remarks = with_classes(hub, self.classes, begin["labels"], begin["new_head"])
        elif hub.outputs is not None and (begin["new_head"] or hub.outputs != 1):
            self.hub, self.remarks = without_head(hub), [f"{hub.path}: the last layer starts anew"]
        pooling = hub.architecture.get("pooling", "first")
        if self.hub is not None and self.hub.outputs is not None and self.architecture["pooling"] != pooling:
            self.remarks.append(f"model.pooling is {pooling}, as the head of {hub.path} was trained")
            self.architecture["pooling"] = pooling

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
