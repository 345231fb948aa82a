"""Optimizer steps of a stack of R runs with separate hyper-parameters: each run is a row of each stacked parameter.

There are two implementations, which differ only in rounding:

    groupwise  the optimizer's own kernel on the rows of each group of runs with the same hyper-parameters. It reads and
               writes memory once, which is what a step on a CPU spends its time on.
    batched    the update rule as the paper writes it, on the rows of all groups of an optimizer, with hyper-parameters
               as tensors (R, 1, ...). That is a handful of kernels however many groups there are, and none depends on
               a number of the host, as a CUDA graph requires.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlkit.training.optimizer_state import flatten_optimizer_state, unflatten_optimizer_state

Owner = tuple[torch.optim.Optimizer, list[list[str]]]  # of a lone run, and the names in each of its parameter groups


@dataclass
class _Block:
    """An optimizer on rows `start` to `stop` of some parameters, with the names of its tensors in order."""

    optimizer: torch.optim.Optimizer
    start: int
    stop: int
    tensors: list[tuple[Tensor, str]]  # (stop - start, ...)

    def step(self, parameters: Mapping[str, Tensor]) -> None:
        for row, name in self.tensors:
            gradient = parameters[name].grad
            row.grad = None if gradient is None else gradient[self.start : self.stop]
        self.optimizer.step()


class StackedOptimizer:
    """Base of both implementations. Each can resume a checkpoint of the other.

    Args:
        parameters: (R, ...) by name.
        groups: row ranges [start, stop) of runs with one optimizer and the same options.
        owners: for each group the optimizer of a lone run of it.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], groups: Sequence[tuple[int, int]], owners: Sequence[Owner]
    ) -> None:
        self.parameters, self.groups, self.owners = parameters, groups, owners
        self.learned = list(dict.fromkeys(name for _, held in owners for names in held for name in names))
        self.blocks: list[_Block] = []

    def step(self) -> None:
        """One step of every run with the gradients of the parameters, which it then clears."""
        for block in self.blocks:
            block.step(self.parameters)
        for parameter in self.parameters.values():
            parameter.grad = None

    def scale(self, factor: float) -> None:
        """Set each learning rate to its initial value times `factor`."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """The state of each group's optimizer as a lone run's, but for a first dimension: the runs of the group."""
        tensors: dict[str, Tensor] = {}
        for block, group, rows, indices in self._groups_of_blocks():
            state = {
                index: {
                    name: value[rows] if value.shape == row.shape else value
                    for name, value in block.optimizer.state[row].items()
                }
                for index, (row, _) in zip(indices, block.tensors, strict=True)
            }
            tensors |= flatten_optimizer_state(state, str(group))
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from such a state."""
        for block, group, rows, indices in self._groups_of_blocks():
            state = unflatten_optimizer_state(tensors, str(group))
            for index, (row, _) in zip(indices, block.tensors, strict=True):
                own = block.optimizer.state[row]
                for name, saved in state.get(index, {}).items():
                    value = saved.to(row.device, copy=True)
                    if value.dim() and value.shape[1:] == row.shape[1:]:
                        # the kernels ignore strides, so a moment needs the layout of its parameter
                        own.setdefault(name, torch.zeros_like(row))[rows].copy_(value)
                    else:
                        own[name] = value

    def _groups_of_blocks(self) -> Iterator[tuple[_Block, int, slice, list[int]]]:
        """(block, index of a group in it, the group's rows, the index of each tensor in a lone run's optimizer)."""
        for block in self.blocks:
            for group, (start, stop) in enumerate(self.groups):
                if block.start <= start and stop <= block.stop:
                    order = [name for names in self.owners[group][1] for name in names]
                    rows = slice(start - block.start, stop - block.start)
                    yield block, group, rows, [order.index(name) for _, name in block.tensors]

    def _block(self, start: int, stop: int, owner: Owner, options: Sequence[dict[str, Any]]) -> _Block:
        """An optimizer like the owner's, with these options for each of its parameter groups."""
        kind: Any = type(owner[0])
        tensors: list[tuple[Tensor, str]] = []
        groups: list[dict[str, Any]] = []
        for names, own in zip(owner[1], options, strict=True):
            rows = [(self.parameters[name].detach()[start:stop], name) for name in names]
            tensors += rows
            groups.append({**own, "params": [row for row, _ in rows]})
        return _Block(kind(groups), start, stop, tensors)


class GroupwiseOptimizer(StackedOptimizer):
    """An optimizer for each group of runs."""

    def __init__(
        self, parameters: Mapping[str, Tensor], groups: Sequence[tuple[int, int]], owners: Sequence[Owner]
    ) -> None:
        super().__init__(parameters, groups, owners)
        for (start, stop), owner in zip(groups, owners, strict=True):
            self.blocks.append(self._block(start, stop, owner, owner[0].param_groups))
        self._rates = [[float(group["lr"]) for group in block.optimizer.param_groups] for block in self.blocks]

    def scale(self, factor: float) -> None:
        for block, rates in zip(self.blocks, self._rates, strict=True):
            for group, rate in zip(block.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor


class BatchedOptimizer(StackedOptimizer):
    """One optimizer for all runs of a kind; no kernel of `step` depends on a number of the host."""

    def __init__(
        self, parameters: Mapping[str, Tensor], groups: Sequence[tuple[int, int]], owners: Sequence[Owner]
    ) -> None:
        super().__init__(parameters, groups, owners)
        self._rates: list[tuple[Tensor, Tensor]] = []  # (now, at the beginning), each (rows,)
        first = next(iter(parameters.values()))
        self._factor = torch.ones((), dtype=first.dtype, device=first.device)
        numbered = list(zip(groups, owners, strict=True))
        for _, alike in itertools.groupby(numbered, key=lambda held: _kind(held[1])):
            self._add(list(alike))

    def _add(self, alike: list[tuple[tuple[int, int], Owner]]) -> None:
        """Join groups of one optimizer whose rows are adjacent."""
        counts = torch.tensor([stop - start for (start, stop), _ in alike])
        start, stop, owner = alike[0][0][0], alike[-1][0][1], alike[0][1]
        names: list[list[str]] = []
        options: list[dict[str, Any]] = []
        rates: list[tuple[Tensor, int]] = []
        for index, own in enumerate(owner[1]):
            values = [other[0].param_groups[index] for _, other in alike]
            now = self._column([group["lr"] for group in values], counts)
            self._rates.append((now, now.clone()))
            # a tensor (R, 1, ..) broadcasts only with parameters that have as many dimensions, so each count is a group
            for dims in sorted({self.parameters[name].dim() for name in own}):
                names.append([name for name in own if self.parameters[name].dim() == dims])
                keys = [key for key in values[0] if key != "params"]
                options.append({key: self._option([group[key] for group in values], counts, dims) for key in keys})
                rates.append((now, dims))
        block = self._block(start, stop, (owner[0], names), [{**each, "lr": 0.0} for each in options])
        for group, (now, dims) in zip(block.optimizer.param_groups, rates, strict=True):
            group["lr"] = _spread(now, dims)
        self.blocks.append(block)

    def scale(self, factor: float) -> None:
        self._factor.fill_(factor)

    def step(self) -> None:
        for now, base in self._rates:
            torch.mul(base, self._factor, out=now)
        super().step()

    def _column(self, values: list[float], counts: Tensor) -> Tensor:
        """(rows,): the value of each group, repeated for its rows."""
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(counts).to(self._factor)

    def _option(self, values: list[Any], counts: Tensor, dims: int) -> Any:
        """A hyper-parameter of all groups: itself if they agree, else a tensor (rows, 1, ..)."""
        if all(value == values[0] for value in values):
            return values[0]
        if isinstance(values[0], tuple):
            return tuple(self._option(list(each), counts, dims) for each in zip(*values, strict=True))
        return _spread(self._column(values, counts), dims)


def _spread(column: Tensor, dims: int) -> Tensor:
    """(R,) as a view (R, 1, ..) of so many dimensions."""
    return column.view(-1, *(1,) * (dims - 1))


def _kind(owner: Owner) -> tuple[Any, ...]:
    """What runs must have in common to be stepped together. Of numeric options only whether they are 0 matters (a
    momentum of 0 keeps no velocity)."""
    optimizer, names = owner
    switches = [
        {k: v if isinstance(v, bool) or v is None else bool(v) for k, v in group.items() if k not in ("params", "lr")}
        for group in optimizer.param_groups
    ]
    return type(optimizer), names, switches
