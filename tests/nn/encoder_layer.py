"""torch's encoder layer and dlkit's transformer block, which call the same parameters otherwise."""

from __future__ import annotations

from torch import Tensor, nn

_NAMES = {
    "self_attn.in_proj_": "attention.qkv.",
    "self_attn.out_proj.": "attention.out.",
    "linear1.": "mlp.0.",
    "linear2.": "mlp.2.",
    "norm1.": "attention_norm.",
    "norm2.": "mlp_norm.",
}


def block_state(layer: nn.TransformerEncoderLayer) -> dict[str, Tensor]:
    """A copy of the layer's state under the names of a block."""
    found: dict[str, Tensor] = {}
    for name, value in layer.state_dict().items():
        start = next(start for start in _NAMES if name.startswith(start))
        found[_NAMES[start] + name.removeprefix(start)] = value.clone()
    return found
