"""A trained language model with its tokenizer: opened to be used, and written for Hugging Face's libraries."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text import tokenizer_files
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError, RequestError
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface, huggingface_export
from dlkit.recipe import load as load_recipe
from dlkit.storage import run_reference
from dlkit.storage.atomic_file import atomic_file
from dlkit.train import checkpoint
from dlkit.train.finite import require_finite_weights
from dlkit.train.precision import supported_precision
from dlkit.train.weights import load_weights


@dataclass(frozen=True)
class Reader:
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
        """Whether it is a GPT."""
        return isinstance(self.model, GPT)

    @property
    def lacking(self) -> str:
        """What its directory lacks and nobody trained: nothing, its head, or some of that."""
        head = {name for name, _ in self.model.named_parameters() if name.startswith("head.")}
        return f"a head for {self.task}" if head and head <= set(self.fresh) else ", ".join(self.fresh)

    def untrained(self, seed: int) -> nn.Module:
        """The same architecture with random weights, on the same device, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self.make()
        return made.to(next(self.model.parameters()).device).eval()


def open_reader(reference: str, device: torch.device, checkpoint_name: str | None = None) -> Reader:
    """A run, a checkpoint or a Hugging Face directory as a model in evaluation mode.

    Raises:
        DlkitError: it is damaged, its tokenizer does not fit the model, or its weights are not finite.
        RequestError: it holds no BERT or GPT.
    """
    path = Path(reference)
    if reference != "-" and (path / "config.json").is_file():
        hub = huggingface.read(path)
        tokenizer = tokenizer_files.from_directory(path)
        if tokenizer.size > hub.vocabulary:
            raise DlkitError(f"{path}: a tokenizer of {tokenizer.size} tokens, a model of {hub.vocabulary}")
        window = hub.architecture["context"]
        if hub.family == "gpt":
            task, make = "causal-lm", functools.partial(GPT, hub.vocabulary, window, **hub.architecture)
        else:
            task = "text-classification" if hub.outputs else "masked-lm"
            make = functools.partial(BERT, hub.vocabulary, window, hub.outputs, **hub.architecture)
        model = make()
        fresh = huggingface.load_into(model, hub)
        ends = _ends(hub.ends | tokenizer_files.ends_of(path, tokenizer), tokenizer)
        return Reader(path, model.to(device).eval(), tokenizer, task, None, make, hub.labels, tuple(fresh), ends)
    run = run_reference.resolve(reference)
    saved = checkpoint.load_checkpoint(run.choose(checkpoint_name), files=("model", "ema"))
    described = saved.state["data"]
    if "architecture" not in described:
        raise RequestError(
            f"{run.path} holds no BERT or GPT, but a model of images or rows", "give a run of a language task"
        )
    window, task = described["architecture"]["context"], described["task"]
    classes = tuple(described.get("classes", ()))
    if task == "causal-lm":
        make = functools.partial(GPT, described["vocabulary"], window, **described["architecture"])
    else:
        tensors = saved.tensors["model"]
        outputs = len(tensors["head.classifier.bias"]) if "head.classifier.bias" in tensors else None
        make = functools.partial(BERT, described["vocabulary"], window, outputs, **described["architecture"])
    model = make()
    require_finite_weights(saved.weights, f"{run.path} at step {saved.step}")
    load_weights(model, saved.weights)
    tokenizer = tokenizers.from_json(described["tokenizer"])
    ends = _ends(set(described.get("ends", ())), tokenizer)
    return Reader(run.path, model.to(device).eval(), tokenizer, task, saved.step, make, classes, ends=ends)


def weights_format(reader: Reader, device: torch.device) -> str:
    """What the weights are held in to generate: `bf16` on a GPU for a run that was trained so, else `fp32`.

    A token reads every weight once, and of a GPU's memory that takes half the time at half the bytes.
    """
    path = reader.path / "recipe.yaml"
    if device.type != "cuda" or not path.is_file():
        return "fp32"
    trained = load_recipe(str(path)).values["train"]["precision"]
    return "bf16" if supported_precision(trained, device) == "bf16" else "fp32"


def _ends(given: set[int], tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end a text: those of the files, or else what stands before each text in training."""
    return frozenset(given or {number for number in [tokenizer.separator] if number is not None})


def write_hub(reader: Reader, directory: Path) -> int:
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
