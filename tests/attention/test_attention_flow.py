"""Rollout, flow and effects against explicit sums, and flow against networks that can be solved by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dlkit.attention import value_norms
from dlkit.attention.capture import CapturedLayer, attention_weights, capture_attention
from dlkit.attention.flow import attention_flow
from dlkit.attention.head_scores import token_positions
from dlkit.attention.inspect import inspect_text
from dlkit.errors import RequestError
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT


def loud(causal: bool) -> Any:
    torch.manual_seed(1)
    model: Any = GPT(30, 16, layers=3, width=12, heads=3) if causal else BERT(30, 16, None, layers=3, width=12, heads=3)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


@pytest.mark.parametrize("causal", [True, False])
def test_rollout_and_flow_of_a_model(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlkit.attention.capture.BLOCK", 3 * 10 * 4)  # blocks of 4 rows
    model, token_ids = loud(causal), torch.randint(30, (10,)).tolist()
    target = 9 if causal else 0
    where = token_positions(token_ids, [False] * 10, causal)
    seen = inspect_text(model, token_ids, where, segments=[0] * 10, target=target, flow=True)
    assert seen.stack is not None
    product = np.eye(10)
    for layer, weights in enumerate(attention_weights(model, torch.tensor([token_ids]))):
        mixed = (weights[0].mean(0).double().numpy() + np.eye(10)) / 2
        np.testing.assert_allclose(seen.stack.residual_attention[layer], mixed, atol=1e-6)
        product = mixed @ product
        np.testing.assert_allclose(seen.stack.sources[layer], product[target], atol=1e-6)
    residual = seen.stack.residual_attention
    flows = attention_flow(residual, target)
    np.testing.assert_allclose(flows[0], residual[0][target], atol=1e-7)  # one layer: its own edges
    # a flow is at least what rollout lets through, and at most what runs into the target
    assert (flows >= seen.stack.sources - 1e-6).all()
    assert (flows <= 1 + 1e-6).all()


def test_flow_is_the_narrowest_cut() -> None:
    lower = np.array([[1.0, 0.0], [0.5, 0.5]])
    upper = np.array([[1.0, 0.0], [0.3, 0.7]])
    # to token 1 of layer 2: from token 0 through node 0 at most 0.3, through node 1 min(0.5, 0.7)
    np.testing.assert_allclose(attention_flow([lower, upper], 1)[1], [0.8, 0.5], atol=1e-8)
    np.testing.assert_allclose(attention_flow([lower, upper], 0), [[1, 0], [1, 0]], atol=1e-8)


def test_flow_refuses_what_would_take_minutes() -> None:
    with pytest.raises(RequestError, match="flow through 12 layers of 512 tokens"):
        attention_flow([np.eye(512)] * 12, 0)


@pytest.mark.parametrize("causal", [True, False])
@torch.inference_mode()
def test_effects_are_norms_of_what_is_added(causal: bool) -> None:
    model, tokens = loud(causal), torch.randint(30, (1, 9))
    layers: list[CapturedLayer] = []
    with capture_attention(model, layers.append):
        model.hidden(tokens)
    for layer in layers:
        rows = layer.rows(0, 9)[0]  # (H, T, T)
        out = layer.module.out.weight.unflatten(1, (3, -1))  # (W, H, D)
        # a_hij f_h(x_j), every vector of it
        carried = torch.einsum("hij,hjd,whd->hijw", rows, layer.v[0], out)
        inner = value_norms.value_gram(layer)
        heads = carried.norm(dim=-1)
        torch.testing.assert_close(
            value_norms.head_contributions(rows, inner), heads / heads.sum(-1, keepdim=True), atol=1e-5, rtol=1e-4
        )
        whole = carried.sum(0).norm(dim=-1)
        torch.testing.assert_close(
            value_norms.layer_contributions(rows, inner), whole / whole.sum(-1, keepdim=True), atol=1e-4, rtol=1e-3
        )
        # and they add up to the layer's output
        total = carried.sum((0, 2)) + layer.module.out.bias
        torch.testing.assert_close(total, layer.output[0], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_head_that_carries_nothing_has_no_effect() -> None:
    model, tokens = loud(True), torch.randint(30, (1, 6))
    model.blocks[1].attention.out.weight.data[:, 4:8] = 0  # head 1 of 3
    layers: list[CapturedLayer] = []
    with capture_attention(model, layers.append):
        model.hidden(tokens)
    effects = value_norms.head_contributions(layers[1].rows(0, 6)[0], value_norms.value_gram(layers[1]))
    assert (effects[1] == 0).all()
    torch.testing.assert_close(effects[[0, 2]].sum(-1), torch.ones(2, 6))
