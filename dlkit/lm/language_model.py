"""A trained language model with its tokenizer: opened to be used, and written for Hugging Face's libraries."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError
from dlkit.models.bert import BERT, SequenceHead
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface_export
from dlkit.pretrained.huggingface import load_language_weights
from dlkit.pretrained.open_weights import open_language_weights
from dlkit.recipe import load as load_recipe
from dlkit.storage.atomic_file import atomic_file
from dlkit.tasks.text_data import language_task
from dlkit.train.precision import supported_precision
from dlkit.train.weights import load_weights


@dataclass(frozen=True)
class LanguageModel:
    """A trained language model with its tokenizer, ready to use.

    Args:
        path: of the run or the directory.
        model: in evaluation mode.
        tokenizer: of its texts.
        task: what it was made for.
        step: of the checkpoint; None for a Hugging Face directory.
        make: the same model with random weights.
        classes: names of what a classifier tells apart.
        fresh: parameters of the head that were not there and begin anew.
        ends: tokens that end a text.
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
    """A run, a checkpoint or a Hugging Face directory as a model in evaluation mode.

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


def weights_format(reader: LanguageModel, device: torch.device) -> str:
    """What the weights are held in to generate: `bf16` on a GPU for a run that was trained so, else `fp32`.

    A token reads every weight once, and of a GPU's memory that takes half the time at half the bytes.
    """
    path = reader.path / "recipe.yaml"
    if device.type != "cuda" or not path.is_file():
        return "fp32"
    trained = load_recipe(str(path)).values["train"]["precision"]
    return "bf16" if supported_precision(trained, device) == "bf16" else "fp32"


def write_hub(reader: LanguageModel, directory: Path) -> int:
    """Write the tokenizer, model.safetensors and config.json for Hugging Face's libraries; returns their bytes.

    After an error or an interrupt they are gone again.

    Args:
        reader: a model with its tokenizer.
        directory: an empty one, or a new one.

    Raises:
        DlkitError: Hugging Face has no such architecture, or the directory cannot be written.
    """
    model, tokenizer = reader.model, reader.tokenizer
    assert isinstance(model, (GPT, BERT))
    if reader.fresh:
        raise DlkitError(
            f"{reader.path} lacks {', '.join(reader.fresh)}: an export would hold values that nobody trained",
            "train a head first: model.weights=DIR in a recipe",
        )
    config = huggingface_export.config_of(model, reader.classes)
    if isinstance(model, GPT):
        ends = sorted(reader.ends)
        config |= {
            "bos_token_id": tokenizer.separator,
            "eos_token_id": ends if len(ends) > 1 else next(iter(ends), None),
        }
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    names |= {"unk_token": "[UNK]", "bos_token": tokenizers.END, "eos_token": tokenizers.END}
    described = {key: name for key, name in names.items() if tokenizer.special(name) is not None}
    described |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.context}
    files = {
        "tokenizer.json": tokenizer.to_json().encode(),
        "tokenizer_config.json": (json.dumps(described, indent=2) + "\n").encode(),
        "model.safetensors": save(huggingface_export.tensors_of(model), {"format": "pt"}),
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),  # the last: by it, a directory is a model
    }
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with atomic_file(directory / name) as file:
                file.write(content)
    except BaseException as error:
        if directory.is_dir():
            for name in files:
                (directory / name).unlink(missing_ok=True)
            if is_new:
                directory.rmdir()
        if isinstance(error, OSError):
            raise DlkitError(f"cannot write {directory}: {error.strerror}", "choose another directory") from error
        raise
    return sum(map(len, files.values()))
