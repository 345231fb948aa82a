"""Load Hugging Face directories (config.json, *.safetensors) of the BERT and GPT families into dlkit's modules.

The networks agree, but tensors differ: BERT has separate layers for queries, keys and values where dlkit has one, and
GPT stores linear layers transposed ("Conv1D").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from dlkit.errors import DlkitError
from dlkit.finite import require_finite_weights
from dlkit.pretrained import huggingface_files
from dlkit.pretrained.huggingface_config import (
    PADDING_OF_ROBERTA,
    Family,
    architecture_of,
    class_names_of,
    end_tokens,
    read_config,
)
from dlkit.pretrained.weights import LanguageWeights

_NORMS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}  # the oldest files say gamma and beta

# A name in the file, without its prefix -> the name here; {} is a number. What ends in `.` stands for weight and bias.
BERT_NAMES = {
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
    "cls.predictions.decoder.": "head.untied.",
    "cls.predictions.": "head.decoder.",
    "pooler.dense.": "head.pooler.",
    "classifier.": "head.classifier.",
}
# RoBERTa, Liu et al. 2019, arXiv:1907.11692: a BERT without segments, whose heads have other names.
ROBERTA_NAMES = {
    name: ours for name, ours in BERT_NAMES.items() if ours.startswith(("tokens", "pos", "norm", "blocks"))
}
ROBERTA_NAMES |= {
    "embeddings.token_type_embeddings.": "segments.",
    "lm_head.dense.": "head.transform.",
    "lm_head.layer_norm.": "head.norm.",
    "lm_head.decoder.": "head.untied.",
    "lm_head.": "head.decoder.",
    "classifier.dense.": "head.pooler.",
    "classifier.out_proj.": "head.classifier.",
}
# DistilBERT, Sanh et al. 2019, arXiv:1910.01108: a BERT without segments, whose classifier has a ReLU.
DISTILBERT_NAMES = {
    "embeddings.word_embeddings.": "tokens.",
    "embeddings.position_embeddings.": "positions.",
    "embeddings.LayerNorm.": "norm.",
    "transformer.layer.{}.attention.q_lin.": "blocks.{}.attention.qkv.0.",
    "transformer.layer.{}.attention.k_lin.": "blocks.{}.attention.qkv.1.",
    "transformer.layer.{}.attention.v_lin.": "blocks.{}.attention.qkv.2.",
    "transformer.layer.{}.attention.out_lin.": "blocks.{}.attention.out.",
    "transformer.layer.{}.sa_layer_norm.": "blocks.{}.attention_norm.",
    "transformer.layer.{}.ffn.lin1.": "blocks.{}.mlp.0.",
    "transformer.layer.{}.ffn.lin2.": "blocks.{}.mlp.2.",
    "transformer.layer.{}.output_layer_norm.": "blocks.{}.mlp_norm.",
    "vocab_transform.": "head.transform.",
    "vocab_layer_norm.": "head.norm.",
    "vocab_projector.": "head.untied.",
    "pre_classifier.": "head.pooler.",
    "classifier.": "head.classifier.",
}
GPT_NAMES = {
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
TRANSPOSED = ("qkv.weight", "out.weight", "mlp.0.weight", "mlp.2.weight")
_PREFIX = r"(?:bert\.|distilbert\.|roberta\.|transformer\.)?"  # of models with a head
# Tensors that dlkit does not need: masks, position ids, the head of next-sentence prediction.
_IGNORED = re.compile(r"(.*\.)?(position_ids|attn\.(bias|masked_bias)|cls\.seq_relationship\.(weight|bias))")
_NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, kw_only=True)
class LanguageStart:
    """The initial weights of a language model.

    Args:
        weights: a Hugging Face directory or a run to start from, which also determines sizes and tokenizer; null for
            random weights.
        new_head: whether to reinitialise a classifier's last layer although `weights` has one.
        labels: the class of each output of the classifier in `weights`; null for the names stored there.
    """

    weights: Path | None = None
    new_head: bool = False
    labels: tuple[str, ...] | None = None


def read_directory(path: Path) -> LanguageWeights:
    """Read a directory of the BERT or GPT family.

    Raises:
        DlkitError: a file is missing or damaged, or dlkit does not have the architecture, which is named.
        NotFiniteError: a weight is NaN or infinite, or too large for float32.
    """
    config = read_config(path)
    family, vocabulary, architecture = architecture_of(config, path)
    kind = config["model_type"]
    names = {"bert": BERT_NAMES, "roberta": ROBERTA_NAMES, "distilbert": DISTILBERT_NAMES}.get(kind, GPT_NAMES)
    tensors, surplus = _translate(path, huggingface_files.read_tensors(path), names)
    if kind == "distilbert":
        tensors["segments.weight"] = torch.zeros(2, architecture["width"])
    elif kind == "roberta":
        _as_bert(path, tensors)
    if family == "bert":
        for name in [name for name in tensors if ".qkv.0." in name]:
            qkv = [tensors.pop(name.replace(".qkv.0.", f".qkv.{i}."), None) for i in range(3)]
            if any(tensor is None for tensor in qkv):
                raise DlkitError(f"{path}: queries, keys or values are missing beside {name}")
            tensors[name.replace(".qkv.0.", ".qkv.")] = torch.cat([tensor for tensor in qkv if tensor is not None])
        if "head.untied.bias" in tensors:
            tensors["head.decoder.bias"] = tensors.pop("head.untied.bias")
    else:
        tensors = {k: v.T.contiguous() if k.endswith(TRANSPOSED) else v for k, v in tensors.items()}
    architecture["tied"] = _is_tied(path, architecture["tied"], tensors, family)
    _check_sizes(path, vocabulary, architecture, tensors)
    if "head.classifier.weight" in tensors and "head.pooler.weight" not in tensors:  # a token classifier
        surplus += [f"classifier.{kind}" for kind in ("weight", "bias") if tensors.pop(f"head.classifier.{kind}", None)
                    is not None]  # fmt: skip
    found = LanguageWeights(
        path=path, tensors=tensors, family=family, vocabulary=vocabulary, architecture=architecture, surplus=surplus
    )
    if "head.classifier.weight" in tensors:
        found.outputs = len(tensors["head.classifier.weight"])
        found.classes, found.problem = class_names_of(config, path, found.outputs), config.get("problem_type")
    if family == "gpt":
        found.ends = {token for token in end_tokens(config, path) if 0 <= token < vocabulary}
    return found


def _as_bert(path: Path, tensors: dict[str, Tensor]) -> None:
    """Make positions start at 0, and use one segment vector for both texts of a pair. Raises DlkitError if missing."""
    if "positions.weight" not in tensors or "segments.weight" not in tensors:
        raise DlkitError(f"{path} lacks its embeddings of positions or segments", "is the file whole?")
    tensors["positions.weight"] = tensors["positions.weight"][PADDING_OF_ROBERTA + 1 :].contiguous()
    tensors["segments.weight"] = tensors["segments.weight"].repeat(2, 1)


def _is_tied(path: Path, configured: bool, tensors: dict[str, Tensor], family: Family) -> bool:
    """Whether the last layer shares the embedding's weights. As in `transformers`, a stored matrix takes precedence."""
    theirs = {"gpt": "lm_head.weight", "bert": "cls.predictions.decoder.weight"}[family]
    given = tensors.pop("head.untied.weight" if family == "bert" else "head.weight", None)
    if given is not None:
        tied = "tokens.weight" in tensors and torch.equal(given, tensors["tokens.weight"])
        if not tied:
            tensors["head.decoder.weight" if family == "bert" else "head.weight"] = given
        return tied
    if not configured and (family == "gpt" or "head.transform.weight" in tensors):
        raise DlkitError(f"{path} has tie_word_embeddings = False, but no {theirs}", "is the file whole?")
    return configured


def _check_sizes(path: Path, vocabulary: int, sizes: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Raise DlkitError if the weights do not have the sizes in config.json, before a model is built."""
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


def _translate(path: Path, tensors: dict[str, Tensor], names: dict[str, str]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under dlkit's names, and the names of those without a counterpart."""
    found: dict[str, Tensor] = {}
    surplus: list[str] = []
    taken: dict[str, Tensor] = {}  # under their own names
    patterns = [
        (re.compile(_PREFIX + re.escape(theirs).replace(r"\{\}", r"(\d+)") + r"(\w+)"), ours)
        for theirs, ours in names.items()
    ]
    for name, value in tensors.items():
        if _IGNORED.fullmatch(name):
            continue
        for pattern, ours in patterns:
            match = pattern.fullmatch(name)
            if match and match[match.re.groups] in _NORMS:
                *indices, kind = match.groups()
                mine = ours.format(*indices) + _NORMS[kind]
                if mine in found:
                    raise DlkitError(f"{path} holds {mine} twice, once as {name}", "is it one model's file?")
                if value.dtype not in _NUMBERS:
                    what = str(value.dtype).removeprefix("torch.")
                    raise DlkitError(f"{path}: {name} holds {what} numbers", "save the model in float32, not quantized")
                found[mine] = taken[name] = value.float()
                break
        else:
            surplus.append(name)
    require_finite_weights(taken, path)
    return found, surplus


def load_language_weights(model: nn.Module, weights: LanguageWeights) -> list[str]:
    """Copy a directory's weights into a model of its architecture.

    A head that the directory lacks keeps its random weights; heads of other tasks are ignored.

    Returns:
        The names of the model's parameters that the directory lacks.

    Raises:
        DlkitError: tensors are missing, surplus or of another shape; each is listed.
    """
    own = dict(model.named_parameters())  # tied ones occur once
    tensors = {name: value for name, value in weights.tensors.items() if name in own or not name.startswith("head.")}
    if (
        "head.classifier.weight" in tensors
        and tensors["head.classifier.weight"].shape != own["head.classifier.weight"].shape
    ):
        tensors = {name: value for name, value in tensors.items() if not name.startswith("head.classifier.")}
    fresh = [name for name in own if name not in tensors and name.startswith("head.")]
    partly = [name for name in fresh if any(other.split(".")[:2] == name.split(".")[:2] for other in tensors)]
    problems = [f"missing {name}" for name in own if name not in tensors and (name not in fresh or name in partly)]
    problems += [f"surplus {name}" for name in (*weights.surplus, *(name for name in tensors if name not in own))]
    problems += [_misfit(name, tensors[name], tuple(own[name].shape)) for name in own if name in tensors]
    if any(problems):
        _refuse(weights.path, problems)
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)
    return fresh
