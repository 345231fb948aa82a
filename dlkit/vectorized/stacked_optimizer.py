"""The optimizer steps of a stack: rows of one tensor for each parameter, R runs with options of their own.

There are two ways to make them, to the same numbers but for rounding:

    by group   the optimizer's own kernel on the rows of each group of runs with the same options. It reads and writes
               memory once, which is what a step on a CPU waits for.
    by kind    the update rule as the paper writes it, on all rows of one optimizer, whose options are tensors
               (R, 1, ..) with a number for each row. That is a handful of kernels however many groups there are, none
               of which depends on a number on the host: what a CUDA graph needs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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
    """What both ways share. A checkpoint of one can be continued by the other.

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
        """One step of every run with the gradients of the parameters, which are gone after it."""
        for block in self.blocks:
            block.step(self.parameters)
        for parameter in self.parameters.values():
            parameter.grad = None

    def scale(self, factor: float) -> None:
        """Set each learning rate to so many times what it began with."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """What the optimizers remember, as `group.index.name`: the index of a tensor among those of its group."""
        held: dict[str, Tensor] = {}
        for block, number, rows, places in self._places():
            for index, (row, _) in zip(places, block.tensors, strict=True):
                for name, value in block.optimizer.state[row].items():
                    held[f"{number}.{index}.{name}"] = value[rows] if value.shape == row.shape else value
        return held

    def load(self, held: Mapping[str, Tensor]) -> None:
        """Go on from such a state."""
        for block, number, rows, places in self._places():
            for index, (row, _) in zip(places, block.tensors, strict=True):
                prefix = f"{number}.{index}."
                for key in [key for key in held if key.startswith(prefix)]:
                    name, value = key.removeprefix(prefix), held[key].to(row.device, copy=True)
                    own = block.optimizer.state[row]
                    if value.dim() and value.shape[1:] == row.shape[1:]:
                        # the kernels walk raw memory, so a moment lies as its parameter does
                        own.setdefault(name, torch.zeros_like(row))[rows].copy_(value)
                    else:
                        own[name] = value

    def _places(self) -> Iterator[tuple[_Block, int, slice, list[int]]]:
        """(block, group, the group's rows in it, the index of each of its tensors among those of a lone run)."""
        for block in self.blocks:
            for number, (start, stop) in enumerate(self.groups):
                if block.start <= start and stop <= block.stop:
                    order = [name for names in self.owners[number][1] for name in names]
                    rows = slice(start - block.start, stop - block.start)
                    yield block, number, rows, [order.index(name) for _, name in block.tensors]

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
    """Each group of runs by its own optimizer."""

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
    """All runs of one optimizer together; `step` runs no kernel that depends on a number on the host."""

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
        """Join groups of one optimizer, whose rows lie one behind the other."""
        counts = torch.tensor([stop - start for (start, stop), _ in alike])
        start, stop, owner = alike[0][0][0], alike[-1][0][1], alike[0][1]
        names: list[list[str]] = []
        options: list[dict[str, Any]] = []
        rates: list[tuple[Tensor, int]] = []
        for index, own in enumerate(owner[1]):
            values = [other[0].param_groups[index] for _, other in alike]
            now = self._column([group["lr"] for group in values], counts)
            self._rates.append((now, now.clone()))
            # an option (R, 1, ..) broadcasts with tensors of one number of dimensions: those go into one group
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
        """(rows,): each group's number for each of its rows."""
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(counts).to(self._factor)

    def _option(self, values: list[Any], counts: Tensor, dims: int) -> Any:
        """An option of all groups: as it is where they agree, else a tensor (rows, 1, ..)."""
        if all(value == values[0] for value in values):
            return values[0]
        if isinstance(values[0], tuple):
            return tuple(self._option(list(parts), counts, dims) for parts in zip(*values, strict=True))
        return _spread(self._column(values, counts), dims)


def _spread(column: Tensor, dims: int) -> Tensor:
    """(R,) as a view (R, 1, ..) of so many dimensions."""
    return column.view(-1, *(1,) * (dims - 1))


def _kind(owner: Owner) -> tuple[Any, ...]:
    """What runs must have in common to be updated together: all but numbers. Whether a velocity is kept counts, too."""
    optimizer, names = owner
    switches = [
        {k: v if isinstance(v, bool) or v is None else bool(v) for k, v in group.items() if k not in ("params", "lr")}
        for group in optimizer.param_groups
    ]
    return type(optimizer), names, switches
