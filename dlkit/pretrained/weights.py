"""Trained weights with their metadata, from any source."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text import tokenizer_files
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained.huggingface_config import Family


@dataclass(kw_only=True)
class Weights:
    """Finite tensors by name, on the CPU.

    Args:
        path: the source, for messages.
        tensors: by name, without prefixes of wrappers.
        classes: class name of each output of the last layer; empty if unknown.
        step: of dlkit's checkpoint; None for third-party weights.
        description: of the data that dlkit's checkpoint was trained on.
        left_out: other sets of weights in the file.
        activation: that they were trained with, if a file beside them names it.
    """

    path: Path
    tensors: dict[str, Tensor]
    classes: tuple[str, ...] = ()
    step: int | None = None
    description: dict[str, Any] = field(default_factory=dict[str, Any])
    left_out: list[str] = field(default_factory=list[str])
    activation: str | None = None

    @property
    def own(self) -> bool:
        """Whether dlkit wrote them, with its own parameter names."""
        return self.step is not None


@dataclass(kw_only=True)
class LanguageWeights(Weights):
    """Weights of a BERT or GPT, float32 under the names of dlkit's modules.

    Args:
        family: bert or gpt.
        vocabulary: size of the vocabulary.
        architecture: other keyword arguments of the constructor.
        surplus: tensors in the file that such a model does not have.
        outputs: of the sequence head; None without one.
        problem: `problem_type` in config.json; None for single-label classification.
        ends: token ids that end a text.
        tokenizer_json: the content of tokenizer.json, if it is not a file in the directory `path`.
    """

    family: Family
    vocabulary: int
    architecture: dict[str, Any]
    surplus: list[str] = field(default_factory=list[str])
    outputs: int | None = None
    problem: str | None = None
    ends: set[int] = field(default_factory=set[int])
    tokenizer_json: str | None = None

    @property
    def has_tokenizer(self) -> bool:
        """Whether there is a complete tokenizer, not only its vocabulary."""
        return self.tokenizer_json is not None or (self.path / "tokenizer.json").is_file()

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the model was trained with. Raises DlkitError if it is missing or damaged."""
        if self.tokenizer_json is not None:
            return tokenizers.tokenizer_from_json(self.tokenizer_json)
        return tokenizer_files.tokenizer_from_directory(self.path)

    def random_model(self) -> nn.Module:
        """A model of the same architecture with random weights."""
        context = self.architecture["context"]
        if self.family == "gpt":
            return GPT(self.vocabulary, context, **self.architecture)
        return BERT(self.vocabulary, context, self.outputs, **self.architecture)
