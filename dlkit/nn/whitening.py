"""Filters of a fixed first layer that whitens image patches: its outputs are uncorrelated and have variance one.

Coates & Ng 2012, "Learning feature representations with k-means"; as a convolution, Page 2018 and Jordan 2024,
arXiv:2404.00498, section 3.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def whitening_filters(images: Tensor, side: int, eps: float) -> Tensor:
    """Filters (2 P, C, side, side), P = C side^2: each eigenvector of the patches' covariance, and its negative.

    Args:
        images: normalised, (N, C, H, W).
        side: of the overlapping patches, in pixels.
        eps: added to each eigenvalue, so that directions without variance are not amplified.
    """
    channels = images.shape[1]
    length = channels * side**2
    covariance = torch.zeros(length, length, dtype=torch.float64)
    patches = 0
    for part in images.float().split(256):
        columns = F.unfold(part, side)  # (n, P, L)
        columns = columns.transpose(0, 1).flatten(1).double()  # (P, n L)
        # S = 1/M sum_m x_m x_m^T, not centred, since the filters have no bias
        covariance += columns @ columns.T
        patches += columns.shape[1]
    values, vectors = torch.linalg.eigh(covariance / max(patches, 1))  # ascending; the columns are eigenvectors
    # w_i = v_i / sqrt(lambda_i + eps), so that E[(w_i x)^2] = lambda_i / (lambda_i + eps)
    filters = (vectors / (values.clamp(min=0) + eps).sqrt()).T.flip(0)  # (P, P), the largest eigenvalue first
    return torch.cat((filters, -filters)).view(2 * length, channels, side, side).to(images.dtype)
