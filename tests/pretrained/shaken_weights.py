"""Networks with weights that no initialisation gives."""

from __future__ import annotations

import torch
from torch import nn


def shaken(network: nn.Module) -> nn.Module:
    """Every tensor away from its initial value, variances positive; gentle, so that logits stay of order 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running_var" in name:
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point() and value.dim() == 1:
                value.add_(torch.randn_like(value) * 0.3)
    return network.eval()
