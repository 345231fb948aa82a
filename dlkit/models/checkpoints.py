"""Hugging Face directories (config.json, *.safetensors) of the BERT and GPT families, in and out of dlkit's modules.

Both write the same network with other names: BERT keeps queries, keys and values apart where dlkit has one product, and
GPT stores its linear layers transposed ("Conv1D").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError
from dlkit.models.bert import BERT, SequenceHead
from dlkit.models.gpt import GPT
from dlkit.models.hub_config import ACTIVATIONS, Family, architecture_of, read_config

_NORMS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}  # the oldest files say gamma and beta

# A name in the file, without its prefix -> the name here; {} is a number. What ends in `.` stands for weight and bias.
_BERT = {
    "embeddings.word_embeddings.": "tokens.",
    "embeddings.position_embeddings.": "positions.",
    "embeddings.token_type_embeddings.": "segments.",
    "embeddings.LayerNorm.": "norm.",
    "encoder.layer.{}.attention.self.query.": "blocks.{}.attention.qkv.0.",
    "encoder.layer.{}.attention.self.key.": "blocks.{}.attention.qkv.1.",
    "encoder.layer.{}.attention.self.value.": "blocks.{}.attention.qkv.2.",
    "encoder.layer.{}.attention.output.dense.": "blocks.{}.attention.out.",
    "encoder.layer.{}.attention.output.LayerNorm.": "blocks.{}.attention_norm.",
    "encoder.layer.{}.intermediate.dense.": "blocks.{}.mlp.0.",
    "encoder.layer.{}.output.dense.": "blocks.{}.mlp.2.",
    "encoder.layer.{}.output.LayerNorm.": "blocks.{}.mlp_norm.",
    "cls.predictions.transform.dense.": "head.transform.",
    "cls.predictions.transform.LayerNorm.": "head.norm.",
    "cls.predictions.": "head.decoder.",
    "pooler.dense.": "head.pooler.",
    "classifier.": "head.classifier.",
}
_GPT = {
    "wte.": "tokens.",
    "tokens_embed.": "tokens.",
    "wpe.": "positions.",
    "positions_embed.": "positions.",
    "h.{}.ln_1.": "blocks.{}.attention_norm.",
    "h.{}.attn.c_attn.": "blocks.{}.attention.qkv.",
    "h.{}.attn.c_proj.": "blocks.{}.attention.out.",
    "h.{}.ln_2.": "blocks.{}.mlp_norm.",
    "h.{}.mlp.c_fc.": "blocks.{}.mlp.0.",
    "h.{}.mlp.c_proj.": "blocks.{}.mlp.2.",
    "ln_f.": "norm.",
    "lm_head.": "head.",
}
_TRANSPOSED = ("qkv.weight", "out.weight", "mlp.0.weight", "mlp.2.weight")
# What dlkit has no use for: masks, position numbers, the head of next-sentence prediction, copies of tied weights.
_IGNORED = re.compile(
    r"(.*\.)?(position_ids|attn\.(bias|masked_bias)|cls\.seq_relationship\.(weight|bias)"
    r"|cls\.predictions\.decoder\.(weight|bias))"
)


@dataclass
class HubModel:
    """What a Hugging Face directory holds.

    `architecture` are keywords of GPT or BERT, `tensors` float32 under dlkit's names, `labels` the classes of its head.
    """

    path: Path
    family: Family
    vocabulary: int
    architecture: dict[str, Any]
    tensors: dict[str, Tensor]
    labels: tuple[str, ...] = ()
    surplus: list[str] = field(default_factory=list[str])
    tokenizer: str | None = None  # the content of its tokenizer.json, where the directory does not hold it


def pretrained(*, weights: Path | None = None) -> Path | None:
    """Where a model's first weights come from.

    Args:
        weights: a Hugging Face directory, or a run, to begin with: sizes and tokenizer are then the checkpoint's; null
            for random weights.
    """
    return weights


def read(path: Path) -> HubModel:
    """Read a directory of the BERT or GPT family.

    Raises:
        DlkitError: a file is missing or broken, or the architecture is none that dlkit has; it is named.
    """
    config = read_config(path)
    family, vocabulary, architecture = architecture_of(config, path)
    tensors, surplus = _translate(_load(path), _BERT if family == "bert" else _GPT)
    if family == "bert":
        for name in [name for name in tensors if ".qkv.0." in name]:
            parts = [tensors.pop(name.replace(".qkv.0.", f".qkv.{i}."), None) for i in range(3)]
            if any(part is None for part in parts):
                raise DlkitError(f"{path}: queries, keys or values are missing beside {name}")
            tensors[name.replace(".qkv.0.", ".qkv.")] = torch.cat([part for part in parts if part is not None])
    else:
        tensors = {k: v.T.contiguous() if k.endswith(_TRANSPOSED) else v for k, v in tensors.items()}
        if architecture["tied"]:
            tensors.pop("head.weight", None)
    _check_sizes(path, vocabulary, architecture, tensors)
    labels = config.get("id2label") if any(name.startswith("head.classifier") for name in tensors) else None
    names = tuple(str(labels[key]) for key in sorted(labels, key=int)) if is_mapping(labels) else ()
    return HubModel(path, family, vocabulary, architecture, tensors, names, surplus)


def _check_sizes(path: Path, vocabulary: int, sizes: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Raise DlkitError where config.json asks for a model of other sizes than the weights are, before it is made."""
    wanted = {
        "tokens.weight": (vocabulary, sizes["width"]),
        "positions.weight": (sizes["context"], sizes["width"]),
        "blocks.0.mlp.0.weight": (sizes["hidden"], sizes["width"]),
    }
    problems = [_misfit(name, tensors[name], shape) for name, shape in wanted.items() if name in tensors]
    blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
    if blocks and max(blocks) + 1 != sizes["layers"]:
        problems.append(f"there are {max(blocks) + 1} layers, the model wants {sizes['layers']}")
    if any(problems):
        _refuse(path, problems)


def _misfit(name: str, tensor: Tensor, shape: tuple[int, ...]) -> str:
    return "" if tensor.shape == shape else f"{name} is {tuple(tensor.shape)}, the model wants {shape}"


def _refuse(path: Path, problems: Iterable[str]) -> NoReturn:
    raise DlkitError(
        f"the weights in {path} do not fit its config.json: {'; '.join(sorted(filter(None, problems)))}",
        "the names are dlkit's; is the file that of another model, or cut short?",
    )


def _load(path: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the shards that its index lists."""
    files = [path / "model.safetensors"]
    index = path / "model.safetensors.index.json"
    if not files[0].exists() and index.exists():
        files = [path / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not file.exists():
            old = sorted(other.name for other in path.glob("*.bin"))
            why = f"; {old[0]} is a pickle, which dlkit does not open" if old else ""
            raise DlkitError(f"no such file: {file}{why}", "save the model with safe serialization")
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise DlkitError(f"{file} is damaged: {error}") from error
    return tensors


def _translate(tensors: dict[str, Tensor], names: dict[str, str]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under dlkit's names, and the names of those that have none."""
    found: dict[str, Tensor] = {}
    surplus: list[str] = []
    patterns = [
        (re.compile(r"(?:bert\.|transformer\.)?" + re.escape(theirs).replace(r"\{\}", r"(\d+)") + r"(\w+)"), ours)
        for theirs, ours in names.items()
    ]
    for name, value in tensors.items():
        if _IGNORED.fullmatch(name):
            continue
        for pattern, ours in patterns:
            match = pattern.fullmatch(name)
            if match and match[match.re.groups] in _NORMS:
                *numbers, kind = match.groups()
                found[ours.format(*numbers) + _NORMS[kind]] = value.float()
                break
        else:
            surplus.append(name)
    return found, surplus


def load_into(model: nn.Module, hub: HubModel) -> list[str]:
    """Copy a directory's weights into a model of its architecture.

    A head that the directory lacks keeps its new weights; heads of other tasks are left out.

    Returns:
        The names of the model's parameters that the directory does not hold.

    Raises:
        DlkitError: listing each tensor that is missing, surplus or of another shape.
    """
    own = dict(model.named_parameters())  # tied ones stand once
    tensors = {name: value for name, value in hub.tensors.items() if name in own or not name.startswith("head.")}
    if (
        "head.classifier.weight" in tensors
        and tensors["head.classifier.weight"].shape != own["head.classifier.weight"].shape
    ):
        tensors = {name: value for name, value in tensors.items() if not name.startswith("head.classifier.")}
    fresh = [name for name in own if name not in tensors and name.startswith("head.")]
    partly = [name for name in fresh if any(other.split(".")[:2] == name.split(".")[:2] for other in tensors)]
    problems = [f"missing {name}" for name in own if name not in tensors and (name not in fresh or name in partly)]
    problems += [f"surplus {name}" for name in (*hub.surplus, *(name for name in tensors if name not in own))]
    problems += [_misfit(name, tensors[name], tuple(own[name].shape)) for name in own if name in tensors]
    if any(problems):
        _refuse(hub.path, problems)
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)
    return fresh


def config_of(model: GPT | BERT, labels: Iterable[str] = ()) -> dict[str, Any]:
    """The config.json of a model. Raises DlkitError where Hugging Face has no such architecture."""
    block: Any = model.blocks[0]
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    activation = _activation_name(block.mlp[1])
    if activation not in names:
        raise DlkitError(f"no Hugging Face BERT or GPT has the activation {activation!r}")
    width, dropout = model.tokens.weight.shape[1], getattr(model.dropout, "p", 0.0)
    attention = block.attention
    if isinstance(model, GPT):
        kind, key = ("gpt2", "activation_function") if block.norm_first else ("openai-gpt", "afn")
        name = names[activation]
        if kind == "openai-gpt" and block.mlp[0].out_features != 4 * width:
            raise DlkitError("Hugging Face's GPT-1 has perceptrons of four times its width; this one has not")
        return {
            "architectures": ["GPT2LMHeadModel" if block.norm_first else "OpenAIGPTLMHeadModel"],
            "model_type": kind,
            "vocab_size": model.vocabulary,
            "n_positions": model.context,
            "n_embd": width,
            "n_layer": len(model.blocks),
            "n_head": attention.heads,
            "n_inner": block.mlp[0].out_features,
            key: "gelu" if kind == "openai-gpt" and name == "gelu_new" else name,
            "layer_norm_epsilon": block.mlp_norm.eps,
            "tie_word_embeddings": model.head.weight is model.tokens.weight,
            **dict.fromkeys(("embd_pdrop", "resid_pdrop"), dropout),
            "attn_pdrop": attention.dropout,
            "bos_token_id": 0,
            "eos_token_id": 0,
        }
    if block.norm_first:
        raise DlkitError("Hugging Face's BERT is post-norm; this one has norm_first: true")
    sequence = isinstance(model.head, SequenceHead)
    if isinstance(model.head, SequenceHead) and model.head.pooling != "first":
        raise DlkitError("Hugging Face's BERT classifies by its first token; this one has pooling: mean")
    return {
        "architectures": ["BertForSequenceClassification" if sequence else "BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": model.vocabulary,
        "max_position_embeddings": model.context,
        "hidden_size": width,
        "num_hidden_layers": len(model.blocks),
        "num_attention_heads": attention.heads,
        "intermediate_size": block.mlp[0].out_features,
        "hidden_act": names[activation],
        "layer_norm_eps": model.norm.eps,
        "type_vocab_size": 2,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": attention.dropout,
        **({"id2label": {str(i): label for i, label in enumerate(labels)}} if sequence else {}),
        **({"label2id": {label: i for i, label in enumerate(labels)}} if sequence else {}),
    }


def _activation_name(layer: nn.Module) -> str:
    name = type(layer).__name__.lower()
    return "gelu_tanh" if getattr(layer, "approximate", "none") == "tanh" else name


def tensors_of(model: GPT | BERT) -> dict[str, Tensor]:
    """The tensors of model.safetensors, under Hugging Face's names; tied ones stand once."""
    bert = isinstance(model, BERT)
    config = config_of(model)
    back = {ours: theirs for theirs, ours in reversed((_BERT if bert else _GPT).items())}
    if config["model_type"] == "openai-gpt":
        back |= {"tokens.": "tokens_embed.", "positions.": "positions_embed."}
    prefix = "bert." if bert else "transformer."
    result: dict[str, Tensor] = {}
    tensors = dict(model.named_parameters()) | {"positions.weight": model.positions.weight}
    for name, value in tensors.items():
        stem, _, kind = name.rpartition(".")
        number = next((part for part in stem.split(".") if part.isdigit() and stem.startswith("blocks.")), "")
        key = stem.replace(f"blocks.{number}.", "blocks.{}.") + "." if number else stem + "."
        value = value.detach()
        if bert and key.endswith(".qkv."):
            for i, part in enumerate(value.chunk(3)):
                result[prefix + back[f"{key}{i}."].format(number) + kind] = part.contiguous()
            continue
        own_prefix = "" if key in ("head.", "head.classifier.") or back[key].startswith("cls.") else prefix
        transposed = not bert and name.endswith(_TRANSPOSED)
        result[own_prefix + back[key].format(number) + kind] = (value.T if transposed else value).contiguous()
    return result
