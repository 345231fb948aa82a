"""Categorical columns as inputs of a model: learned embeddings or one-hot vectors.

Shapes: N rows, F columns. Categorical columns hold category indices from 1; 0 is an unknown category.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def embedding_width(categories: int) -> int:
    """The width of an embedding of C categories, as in fastai (Howard & Gugger, arXiv:2002.04688, section 2.2)."""
    # min(600, 1.6 C^0.56)
    return min(600, round(1.6 * categories**0.56))


class CategoryColumns(nn.Module):
    """Replace the categorical columns of rows (N, F) by vectors: (N, out_features).

    An unknown category is the zero vector, learned or one-hot, as in scikit-learn's OneHotEncoder with
    handle_unknown="ignore".

    Args:
        features: F.
        categories: index of a column among the F -> number of its categories.
        one_hot: use one-hot vectors, not embeddings.
    """

    def __init__(self, features: int, categories: Mapping[int, int], one_hot: bool = False) -> None:
        super().__init__()
        self.features, self.categories, self.one_hot = features, dict(categories), one_hot
        widths = {place: count if one_hot else embedding_width(count) for place, count in categories.items()}
        self.out_features = features - len(widths) + sum(widths.values())
        self.embeddings = nn.ModuleDict()
        if not one_hot:
            for place, width in widths.items():
                self.embeddings[str(place)] = nn.Embedding(categories[place] + 1, width, padding_idx=0)

    def forward(self, rows: Tensor) -> Tensor:
        parts: list[Tensor] = []
        begin = 0
        for place, count in sorted(self.categories.items()):
            parts.append(rows[:, begin:place])
            number = rows[:, place]  # (N,)
            if self.one_hot:
                every = torch.arange(1, count + 1, device=rows.device)
                parts.append((number[:, None] == every).to(rows.dtype))  # (N, C)
            else:
                parts.append(self.embeddings[str(place)](number.long()))  # (N, width)
            begin = place + 1
        return torch.cat([*parts, rows[:, begin:]], dim=1)

    def extra_repr(self) -> str:
        return f"{self.features}, {self.categories}, one_hot={self.one_hot}"


class WithCategories(nn.Module):
    """A model preceded by `CategoryColumns`: rows (N, F) to the model's outputs.

    Args:
        columns: encodes the categorical columns.
        model_of: makes the model from the shape of its inputs.
    """

    def __init__(self, columns: CategoryColumns, model_of: Callable[[tuple[int, ...]], nn.Module]) -> None:
        super().__init__()
        self.columns = columns
        self.model = model_of((columns.out_features,))

    def forward(self, rows: Tensor) -> Tensor:
        return self.model(self.columns(rows))
