"""A directory for Hugging Face's libraries: of a language model for transformers, of a network for images for timm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from dlkit.data.text import tokenizer as tokenizers
from dlkit.export.description import describe
from dlkit.export.exportable import Exportable
from dlkit.export.formats import CONFIG, WEIGHTS
from dlkit.export.side_files import side_files
from dlkit.export.timm_directory import timm_architecture, timm_config, timm_tensors
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface_export


def write_hub_directory(exportable: Exportable, folder: Path) -> dict[str, Any]:
    """Write the directory; returns fields of the command's record.

    Raises:
        DlkitError: Hugging Face has no such architecture.
        RequestError: neither library has such a model.
    """
    if isinstance(exportable.model, (GPT, BERT)):
        return _write_for_transformers(exportable, exportable.model, folder)
    architecture = timm_architecture(exportable)
    texts = side_files(exportable, describe(exportable, "hf", in_graph=False))
    texts[CONFIG] = _lines(timm_config(exportable, architecture))
    _write(folder, texts, timm_tensors(exportable, architecture))
    return {"architecture": architecture}


def _write_for_transformers(exportable: Exportable, model: GPT | BERT, folder: Path) -> dict[str, Any]:
    tokenizer = exportable.tokenizer
    assert tokenizer is not None
    config = huggingface_export.config_of(model, exportable.classes)
    if isinstance(model, GPT):
        ends = sorted(exportable.ends)
        config |= {
            "bos_token_id": tokenizer.separator,
            "eos_token_id": ends if len(ends) > 1 else next(iter(ends), None),
        }
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    names |= {"unk_token": "[UNK]", "bos_token": tokenizers.END, "eos_token": tokenizers.END}
    described = {key: name for key, name in names.items() if tokenizer.special(name) is not None}
    described |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.context}
    texts = side_files(exportable, describe(exportable, "hf", in_graph=False))
    texts |= {"tokenizer_config.json": _lines(described), CONFIG: _lines(config)}
    _write(folder, texts, huggingface_export.tensors_of(model))
    return {"architecture": config["architectures"][0]}


def _write(folder: Path, texts: dict[str, str], tensors: dict[str, Any]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / WEIGHTS).write_bytes(save(tensors, {"format": "pt"}))


def _lines(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
