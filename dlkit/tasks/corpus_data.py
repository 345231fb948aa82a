"""Running text, for predicting next tokens or masked ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from dlkit.data.data_folder import data_folder
from dlkit.data.examination.duplicates import KeyedExample, keyed_texts
from dlkit.data.splits import name_unsplit
from dlkit.data.text.corpus import Corpus, Text
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.data.text.returned_texts import corpus_of
from dlkit.data.text.token_ids import Tokens, is_lossless, token_array
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.data.text.windows import TokenWindows
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.recipe.components import components
from dlkit.tasks.language_modelling import CausalLM, MaskedLM, OwnCausalLM, OwnMaskedLM
from dlkit.tasks.task_data import read_component
from dlkit.tasks.text_data import TextData
from dlkit.training.settings import TestViews

_LONG_LINE = 40


class CorpusData(TextData):
    """The splits of a corpus as token ids; each split is tokenized when it is first used."""

    unit = "bytes"
    example_unit = "lines"

    def __init__(self, recipe: Recipe, saved: dict[str, Any] | None = None) -> None:
        found = read_component(recipe, None)
        self.corpus: Corpus = corpus_of(recipe.values["data"]["name"], found) if isinstance(found, dict) else found
        super().__init__(recipe, [self.corpus.splits["train"]], saved)
        if self.start.new_head or self.start.labels is not None:
            raise RequestError(f"model.new_head and model.labels are for classifiers, not for {self.task}")
        self.name = self.corpus.name
        self._tokens: dict[str, Tokens] = {}
        self._measured: set[str] = set()  # splits that are evaluated

    @property
    def sizes(self) -> dict[str, int]:
        return {split: text.size for split, text in self.corpus.splits.items()}

    def take_whole(self) -> None:
        self.corpus = dataclasses.replace(self.corpus, splits=name_unsplit(self.corpus.splits))

    @property
    def sources(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        counted = {split: len(tokens) for split, tokens in self._tokens.items()}
        return {**self.corpus.sources, "tokens": counted, "tokenizer": self.tokenizer_source}

    @property
    def before(self) -> int | None:
        """The token that precedes a split, if any."""
        return None

    def tokens(self, split: str) -> Tokens:
        """The token ids of a split."""
        if split not in self._tokens:
            folder = data_folder() / "tokens"
            self._tokens[split] = token_array(self.corpus.splits[split], self.tokenizer, folder, self.before)
        return self._tokens[split]

    def predicted_tokens(self, split: str) -> Tokens:
        return self.tokens(split)[int(self.before is not None) :]

    def keyed_examples(self) -> Mapping[str, Iterable[KeyedExample]]:
        """Lines that are too long to be equal by chance."""
        return {
            split: keyed_texts(lines := list(_long_lines(text)), None, [None] * len(lines))
            for split, text in self.corpus.splits.items()
        }

    def statistics(self, recipe: Recipe) -> dict[str, Any]:
        unknown = self.tokenizer.special("[UNK]")
        tokens = {
            split: {
                "tokens": len(ids := self.tokens(split)),
                "bytes_per_token": round(text.size / max(1, len(ids)), 3),
                "share_unknown": round(float((ids == unknown).mean()), 5) if unknown is not None and len(ids) else 0.0,
            }
            for split, text in self.corpus.splits.items()
        }
        return {"tokens": tokens, "vocabulary": self.vocabulary, "context": recipe.values["data"]["context"]}

    @property
    def inexact(self) -> str | None:
        """Why bits per byte would not be a valid code length of the text, or None if they are."""
        if not self.tokenizer.byte_level:
            return "the tokens do not stand for bytes"
        for split in self._measured:
            if not is_lossless(self.corpus.splits[split], self.tokenizer, self.predicted_tokens(split)):
                return f"the tokenizer changes the text of {split}: its tokens do not give it back"
        return None


class CausalCorpus(CorpusData):
    """For causal-lm: windows in which every next token is predicted; a separator precedes the first one."""

    family = "gpt"

    @property
    def before(self) -> int | None:
        return self.tokenizer.separator

    def split_batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool
    ) -> TokenWindows:
        _, [(windows, keys), _] = components("data", recipe.values["data"], recipe.values["task"])
        if not training:
            self._measured.add(split)
        return windows(self.tokens(split), device, recipe.values["seed"], training, **keys)

    def objective(self, loss: nn.Module, views: TestViews = "one") -> CausalLM:
        """The objective. It measures bits per byte if the tokens of all evaluated splits decode to the exact bytes."""
        task = OwnCausalLM if self.own_model else CausalLM
        why = self.inexact
        if why:
            self.left_out["bits_per_byte"] = why
            return task(loss)
        lengths = [len(self.tokenizer.bytes_of(i)) for i in range(self.tokenizer.size)]
        return task(loss, torch.tensor(lengths + [0] * (self.vocabulary - len(lengths))))


class MaskedCorpus(CorpusData):
    """For masked-lm: windows some of whose tokens are masked."""

    def split_batches(
        self, recipe: Recipe, split: str, device: torch.device, training: bool, channels_last: bool
    ) -> MaskedWindows:
        _, [_, (windows, keys)] = components("data", recipe.values["data"], recipe.values["task"])
        special = special_tokens(self.tokenizer)
        return windows(self.tokens(split), device, recipe.values["seed"], training, special, **keys)

    def objective(self, loss: nn.Module, views: TestViews = "one") -> CausalLM:
        return OwnMaskedLM(loss) if self.own_model else MaskedLM(loss)


def _long_lines(text: Text) -> Iterator[str]:
    """Lines of at least 40 characters, which are hardly equal by chance, without surrounding spaces."""
    for piece in text.pieces():
        for line in piece.splitlines():
            if len(line.strip()) >= _LONG_LINE:
                yield line.strip()


def special_tokens(tokenizer: Tokenizer) -> MaskingVocabulary:
    """The token ids that masking needs. Raises DlkitError if the tokenizer lacks one."""
    first, last, mask = (tokenizer.require(name) for name in ("[CLS]", "[SEP]", "[MASK]"))
    return MaskingVocabulary(first, last, mask, tokenizer.size, tokenizer.continues)
