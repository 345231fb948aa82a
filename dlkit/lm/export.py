"""A language model as a directory for Hugging Face's libraries."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from dlkit.data.text import tokenizer as tokenizers
from dlkit.errors import DlkitError
from dlkit.lm.language_model import LanguageModel
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface_export
from dlkit.storage.atomic_file import atomic_file


def export_to_huggingface(opened: LanguageModel, directory: Path) -> int:
    """Write the tokenizer, model.safetensors and config.json for Hugging Face's libraries; returns their bytes.

    After an error or an interrupt they are gone again.

    Args:
        opened: a model with its tokenizer.
        directory: an empty one, or a new one.

    Raises:
        DlkitError: Hugging Face has no such architecture, or the directory cannot be written.
    """
    model, tokenizer = opened.model, opened.tokenizer
    assert isinstance(model, (GPT, BERT))
    if opened.fresh:
        raise DlkitError(
            f"{opened.path} lacks {', '.join(opened.fresh)}: an export would hold values that nobody trained",
            "train a head first: model.weights=DIR in a recipe",
        )
    config = huggingface_export.config_of(model, opened.classes)
    if isinstance(model, GPT):
        ends = sorted(opened.ends)
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
