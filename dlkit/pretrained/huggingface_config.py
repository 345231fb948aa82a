"""The config.json of a Hugging Face directory of the BERT or GPT family, as keyword arguments of dlkit's models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError
from dlkit.pretrained.huggingface_files import read_json

Family = Literal["bert", "gpt"]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
# Names that transformers accepts for GPT's.
_ALIASES = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings",
}
_ENCODERS = ("bert", "distilbert", "roberta")
PADDING_OF_ROBERTA = 1  # its padding token; positions of a text start at the next number
_LARGEST = 1 << 24  # of any size; a larger one is a mistake


def read_config(path: Path) -> dict[str, Any]:
    """The directory's config.json. Raises DlkitError if it is missing or cannot be read."""
    config = read_json(path / "config.json")
    if "model_type" not in config:
        raise DlkitError(f"{path / 'config.json'} names no model_type", "is it the config.json of a model?")
    return config


def end_tokens(config: dict[str, Any], path: Path) -> set[int]:
    """The tokens that end a text: eos_token_id of generation_config.json, or else of config.json.

    Raises:
        DlkitError: it is neither a number nor a list of them.
    """
    file = path / "generation_config.json"
    given = read_json(file).get("eos_token_id") if file.exists() else None
    given = config.get("eos_token_id") if given is None else given
    tokens = [] if given is None else given if isinstance(given, list) else [given]
    if not all(type(token) is int for token in tokens):
        raise DlkitError(f"{path} has eos_token_id = {given!r}, which must be a whole number or a list of them")
    return set(tokens)


def class_names_of(config: dict[str, Any], path: Path, outputs: int) -> tuple[str, ...]:
    """The names of a classifier's outputs by id2label or label2id; LABEL_0, ... if the file has none.

    Raises:
        DlkitError: the ids are not 0, 1, ..., or do not match the number of outputs.
    """
    named = config.get("id2label")
    if named is None and is_mapping(config.get("label2id")):
        named = {number: name for name, number in config["label2id"].items()}
    if named is None or (outputs == 1 and len(named) != 1):  # a regression output or a candidate's score, not a class
        return tuple(f"LABEL_{index}" for index in range(outputs))
    try:
        names = {int(key): str(name) for key, name in named.items()}
    except (AttributeError, ValueError, TypeError) as error:
        raise DlkitError(f"{path / 'config.json'} has id2label = {named!r}, no names by number") from error
    if sorted(names) != list(range(outputs)):
        raise DlkitError(
            f"{path / 'config.json'} names {len(names)} classes ({', '.join(names.values())}), "
            f"its classifier has {outputs} outputs",
            "is it the model's own file?",
        )
    return tuple(names[index] for index in range(outputs))


def architecture_of(config: dict[str, Any], path: Path) -> tuple[Family, int, dict[str, Any]]:
    """The family, the size of the vocabulary, and the keyword arguments of BERT or GPT.

    Raises:
        DlkitError: dlkit does not have the architecture, or a value is missing or invalid.
    """
    kind = config["model_type"]
    unusual = {
        "bert": {
            "position_embedding_type": (None, "absolute"),
            "is_decoder": (None, False),
            "type_vocab_size": (None, 2),
        },
        "gpt2": {"scale_attn_by_inverse_layer_idx": (None, False), "scale_attn_weights": (None, True)},
        "openai-gpt": {},
        "roberta": {
            "position_embedding_type": (None, "absolute"),
            "is_decoder": (None, False),
            "type_vocab_size": (1,),
            "pad_token_id": (PADDING_OF_ROBERTA,),
        },
        "distilbert": {"sinusoidal_pos_embds": (None, False)},
    }
    # `reorder_and_upcast_attn` of GPT-2 and `chunk_size_feed_forward` only change rounding
    shared_keys = {
        "add_cross_attention": (None, False),
        "is_encoder_decoder": (None, False),
        "pruned_heads": (None, {}),
        "quantization_config": (None,),
        "problem_type": (None, "regression", "single_label_classification", "multi_label_classification"),
    }
    if not isinstance(kind, str) or kind not in unusual:
        raise DlkitError(f"{path} holds a {kind!r} model", f"dlkit reads {', '.join(unusual)}")
    for key, usual in {**unusual[kind], **shared_keys}.items():
        if config.get(key) not in usual:
            raise DlkitError(f"{path}: dlkit has no {kind} with {key} = {config.get(key)!r}")
    own_code = config.get("auto_map")
    if is_mapping(own_code) and (models := [key for key in own_code if key.startswith("AutoModel")]):
        raise DlkitError(f"{path}: the model is code of its own, {own_code[models[0]]!r}, which dlkit does not run")
    for key, alias in () if kind in _ENCODERS else _ALIASES.items():
        if alias in config and config.setdefault(key, config[alias]) != config[alias]:
            raise DlkitError(f"{path}: {key} = {config[key]!r} and {alias} = {config[alias]!r} say different things")

    def wrong(key: str, wanted: str) -> DlkitError:
        there = f"{key} = {config[key]!r}" if key in config else f"no {key}"
        return DlkitError(f"{path / 'config.json'} has {there}, which must be {wanted}", "is it the model's own file?")

    def size(key: str) -> int:
        value = config.get(key)
        if type(value) is not int or not 1 <= value <= _LARGEST:
            raise wrong(key, f"a whole number from 1 to {_LARGEST:,}")
        return value

    def positive(key: str, usual: float) -> float:
        value = config.get(key, usual)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise wrong(key, "a number above 0")
        return value

    def activation(key: str, usual: str) -> str:
        name = config.get(key, usual)
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise DlkitError(f"{path}: dlkit has no activation {name!r}", f"it knows {', '.join(ACTIVATIONS)}")
        # "gelu" in GPT-1's file means the tanh approximation
        return "gelu_tanh" if kind == "openai-gpt" and name == "gelu" else ACTIVATIONS[name]

    if kind in ("bert", "roberta"):
        names = ("num_hidden_layers", "num_attention_heads", "hidden_size", "max_position_embeddings")
    elif kind == "distilbert":
        names = ("n_layers", "n_heads", "dim", "max_position_embeddings")
    else:
        names = ("n_layer", "n_head", "n_embd", "n_positions")
    layers, heads, width, context = map(size, names)
    context -= PADDING_OF_ROBERTA + 1 if kind == "roberta" else 0
    tied = config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise wrong("tie_word_embeddings", "true or false")
    if width % heads:
        raise wrong(names[1], f"a divisor of {names[2]} = {width}")
    shared = {
        "layers": layers,
        "heads": heads,
        "width": width,
        "context": context,
        "positions": "learned",
        "tied": tied,
    }
    if kind == "distilbert":
        keywords = {"hidden": size("hidden_dim"), "activation": activation("activation", "gelu"), "norm_first": False}
        return "bert", size("vocab_size"), {**shared, **keywords, "eps": 1e-12, "head_activation": "relu"}
    if kind in ("bert", "roberta"):
        return (
            "bert",
            size("vocab_size"),
            shared
            | {
                "hidden": size("intermediate_size"),
                "activation": activation("hidden_act", "gelu"),
                "norm_first": False,
                "eps": positive("layer_norm_eps", 1e-12),
            },
        )
    return (
        "gpt",
        size("vocab_size"),
        shared
        | {
            "hidden": 4 * width if config.get("n_inner") is None else size("n_inner"),
            "activation": activation("activation_function", "gelu_new")
            if kind == "gpt2"
            else activation("afn", "gelu"),
            "norm_first": kind == "gpt2",
            "eps": positive("layer_norm_epsilon", 1e-5),
        },
    )
