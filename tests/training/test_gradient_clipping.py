"""Each run of a stack is clipped as torch clips a lone one."""

from __future__ import annotations

import pytest
import torch

from dlkit.training.gradient_clipping import clip_stacked_gradients


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_stacked_gradients_are_clipped_as_lone_ones(max_norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    stacked = [torch.randn(3, *shape, generator=generator, dtype=torch.float64) for shape in ((4, 5), (5,), (2, 1, 3))]
    stacked[0][1] = stacked[1][1] = stacked[2][1] = 0  # of a run at a minimum
    lone = [[torch.zeros_like(gradient[run], requires_grad=True) for gradient in stacked] for run in range(3)]
    for run, parameters in enumerate(lone):
        for parameter, gradient in zip(parameters, stacked, strict=True):
            parameter.grad = gradient[run].clone()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    clip_stacked_gradients(stacked, max_norm)
    for run, parameters in enumerate(lone):
        for parameter, gradient in zip(parameters, stacked, strict=True):
            torch.testing.assert_close(gradient[run], parameter.grad, rtol=1e-12, atol=0)
