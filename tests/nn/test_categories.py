"""Categories as inputs of a model, against torch.nn.Embedding by hand and many models at once."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from dlkit.nn.categories import CategoryColumns, WithCategories, embedding_width

ROWS = torch.tensor([[0.5, 1, -1.0, 3], [2.5, 2, 0.0, 1], [1.5, 0, 4.0, 0], [0.0, 2, 1.0, 2]])


def test_widths_are_those_of_fastai() -> None:
    # fastai.tabular.model.emb_sz_rule for 2, 7, 300 and 1,000,000 categories
    assert [embedding_width(count) for count in (2, 7, 300, 1_000_000)] == [2, 5, 39, 600]


def test_each_category_has_its_vector_and_none_is_zero() -> None:
    columns = CategoryColumns(4, {3: 3, 1: 2})
    found = columns(ROWS)
    first, second = (columns.get_submodule(f"embeddings.{place}").get_parameter("weight") for place in (1, 3))
    parts = [ROWS[:, :1], first[ROWS[:, 1].long()], ROWS[:, 2:3], second[ROWS[:, 3].long()]]
    torch.testing.assert_close(found, torch.cat(parts, 1), rtol=0, atol=0)
    assert found.shape == (4, columns.out_features)
    assert not found[2, 1 : 1 + first.shape[1]].any()
    found.square().sum().backward()
    assert first.grad is not None
    assert not first.grad[0].any()
    assert first.grad[1:].abs().sum(1).all()


def test_many_models_at_once_are_each_of_them() -> None:
    def model() -> nn.Module:
        return WithCategories(CategoryColumns(4, {1: 2, 3: 3}), lambda shape: nn.Linear(shape[0], 2))

    models = [model() for _ in range(3)]
    stacked, buffers = stack_module_state(models)

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(models[0], (parameters, buffers), (ROWS,)).square().sum()

    together = vmap(grad(loss))(stacked)
    for index, one in enumerate(models):
        one(ROWS).square().sum().backward()
        for name, parameter in one.named_parameters():
            torch.testing.assert_close(together[name][index], parameter.grad)
