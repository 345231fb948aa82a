"""The config.json of a Hugging Face directory of the BERT or GPT family, as keywords of dlkit's models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError

Family = Literal["bert", "gpt"]

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
_LARGEST = 1 << 24  # of any size: what is more is a mistake


def read_config(path: Path) -> dict[str, Any]:
    """The directory's config.json. Raises DlkitError where there is none, or none that can be read."""
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DlkitError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DlkitError(f"{file} is not JSON: {error}", "is the download whole?") from error
    if not is_mapping(config) or "model_type" not in config:
        raise DlkitError(f"{file} names no model_type", "is it the config.json of a model?")
    return config


def architecture_of(config: dict[str, Any], path: Path) -> tuple[Family, int, dict[str, Any]]:
    """The family, the size of the vocabulary, and the keywords of BERT or GPT.

    Raises:
        DlkitError: an architecture that dlkit does not have, or a value that is missing or makes no sense.
    """
    kind = config["model_type"]
    unusual = {
        "bert": {"position_embedding_type": (None, "absolute"), "is_decoder": (None, False), "type_vocab_size": (2,)},
        "gpt2": {"scale_attn_by_inverse_layer_idx": (None, False), "scale_attn_weights": (None, True)},
        "openai-gpt": {},
    }
    if not isinstance(kind, str) or kind not in unusual:
        raise DlkitError(f"{path} holds a {kind!r} model", f"dlkit reads {', '.join(unusual)}")
    for key, usual in {**unusual[kind], "add_cross_attention": (None, False)}.items():
        if config.get(key) not in usual:
            raise DlkitError(f"{path}: dlkit has no {kind} with {key} = {config.get(key)!r}")

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
        # GPT-1's file says "gelu" and means the approximation
        return "gelu_tanh" if kind == "openai-gpt" and name == "gelu" else ACTIVATIONS[name]

    if kind == "bert":
        names = ("num_hidden_layers", "num_attention_heads", "hidden_size", "max_position_embeddings")
    else:
        names = ("n_layer", "n_head", "n_embd", "n_positions")
    layers, heads, width, context = map(size, names)
    if width % heads:
        raise wrong(names[1], f"a divisor of {names[2]} = {width}")
    shared = {"layers": layers, "heads": heads, "width": width, "context": context, "positions": "learned"}
    if kind == "bert":
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
    tied = config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise wrong("tie_word_embeddings", "true or false")
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
            "tied": tied,
            "eps": positive("layer_norm_epsilon", 1e-5),
        },
    )
