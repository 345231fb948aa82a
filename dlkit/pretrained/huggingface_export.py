"""dlkit's BERT and GPT as a Hugging Face directory: config.json, and the tensors of model.safetensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from dlkit.errors import DlkitError
from dlkit.models.bert import BERT, SequenceHead
from dlkit.models.gpt import GPT
from dlkit.nn.norm import BatchNorm
from dlkit.pretrained.huggingface import BERT_NAMES, GPT_NAMES, TRANSPOSED
from dlkit.pretrained.huggingface_config import ACTIVATIONS


def config_of(model: GPT | BERT, labels: Iterable[str] = ()) -> dict[str, Any]:
    """The config.json of a model. Raises DlkitError if transformers has no such architecture."""
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
    if isinstance(model.norm, BatchNorm):
        raise DlkitError("Hugging Face's BERT has layer norms; this one has norm: batch")
    if block.norm_first:
        raise DlkitError("Hugging Face's BERT is post-norm; this one has norm_first: true")
    sequence = isinstance(model.head, SequenceHead)
    outputs = model.head.classifier.weight.shape[0] if isinstance(model.head, SequenceHead) else 0
    names_of = tuple(labels)
    kind = "BertForSequenceClassification" if sequence else "BertForMaskedLM"
    if outputs == 1 and len(names_of) > 1:  # a score for each candidate
        kind, names_of = "BertForMultipleChoice", ()
    if isinstance(model.head, SequenceHead) and model.head.pooling != "first":
        raise DlkitError("Hugging Face's BERT classifies by its first token; this one has pooling: mean")
    if isinstance(model.head, SequenceHead) and _activation_name(model.head.activation) != "tanh":
        raise DlkitError("Hugging Face's BERT has a tanh in its head for sequences; this one has another activation")
    return {
        "architectures": [kind],
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
        **({} if sequence else {"tie_word_embeddings": model.head.decoder.weight is model.tokens.weight}),  # pyright: ignore
        **({"id2label": {str(i): label for i, label in enumerate(names_of)}} if names_of else {}),
        **({"label2id": {label: i for i, label in enumerate(names_of)}} if names_of else {}),
        **({"num_labels": 1, "problem_type": "regression"} if outputs == 1 and kind != "BertForMultipleChoice" else {}),
    }


def _activation_name(layer: nn.Module) -> str:
    name = type(layer).__name__.lower()
    return "gelu_tanh" if getattr(layer, "approximate", "none") == "tanh" else name


def tensors_of(model: GPT | BERT) -> dict[str, Tensor]:
    """The tensors of model.safetensors, under Hugging Face's names; tied ones occur once."""
    bert = isinstance(model, BERT)
    config = config_of(model)
    back = {ours: theirs for theirs, ours in reversed((BERT_NAMES if bert else GPT_NAMES).items())}
    if config["model_type"] == "openai-gpt":
        back |= {"tokens.": "tokens_embed.", "positions.": "positions_embed."}
    if bert and not config.get("tie_word_embeddings", True):
        back["head.decoder."] = "cls.predictions.decoder."
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
        transposed = not bert and name.endswith(TRANSPOSED)
        result[own_prefix + back[key].format(number) + kind] = (value.T if transposed else value).contiguous()
    return result
