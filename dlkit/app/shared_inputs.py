"""New inputs, answered by all processes of a job: what each of them gave, in the order of the inputs.

Rank 0 alone reads the inputs, which may come through a pipe, and deals them out in rounds. A batch holds the inputs
that it would hold in one process, so that its answers are the same to the last bit, and belongs to one rank:

    batches that are read one by one       rank r reads and answers every W-th from r on
    batches of a pool, sorted by length    every rank reads the pool, and answers every W-th batch of it

A round ends where the inputs pause, so that no answer waits for further input.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dlkit.data.batch import Batch
from dlkit.data.unread_input import UnreadInput
from dlkit.distributed.process_group import World, current_world
from dlkit.errors import DlkitError
from dlkit.lines import batched_as_they_come
from dlkit.tasks.new_inputs import NewInputs

_ROUND = 4  # batches that a rank reads ahead
_IDLE_SECONDS = 60.0  # after which ranks that wait for inputs hear that there are none yet

# An input as it is shown, what a function gave for it (None for nothing), and why there is nothing.
Answered = tuple[Any, Any, str | None]


@dataclass(frozen=True)
class _Round:
    """Inputs of so many batches, and the error that ended them."""

    inputs: list[list[Any]]
    error: DlkitError | None = None


def answered_inputs(
    reader: NewInputs,
    inputs: Iterable[Any],
    answer: Callable[[Batch], Iterable[Any]],
    device: torch.device,
    channels_last: bool,
) -> Iterator[Answered]:
    """Each input with its answer, in their order, on every rank of a job that this process has joined.

    Args:
        reader: of the inputs.
        inputs: those of rank 0 count; None among them says that the next one is not there yet.
        answer: what a batch gives, one thing for each example.
        device: for the batches.
        channels_last: as in training.

    Raises:
        RequestError: the first input that can be read lacks what the run reads.
        DlkitError: the inputs end in an error.
    """
    world = current_world()

    def of(inputs: Iterable[Any], own: slice = slice(None)) -> Iterator[Answered]:
        for found in reader.batches(inputs, device, channels_last):
            answers: dict[int, Any] = {}
            for positions, batch in found.batches[own]:
                answers |= zip(positions, answer(batch), strict=True)
            for position, item in enumerate(found.inputs):
                yield item, answers.get(position), found.errors.get(position)

    checked = _checked(reader, inputs)
    if world.size == 1:
        yield from of(checked)
        return
    for dealt in _rounds(checked, reader, world):
        if reader.pool > 1:
            own = slice(world.rank, None, world.size)
            for shares in zip(*world.gather_objects(list(of(itertools.chain(*dealt.inputs), own))), strict=True):
                item, _, error = shares[0]
                yield item, next((given for _, given, _ in shares if given is not None), None), error
        else:
            # full batches, except the last, so that batch boundaries stay the same
            mine = list(of(itertools.chain(*dealt.inputs[world.rank :: world.size])))
            yield from _in_turn(dealt.inputs, world.gather_objects(mine))
        if dealt.error is not None:
            raise dealt.error


def _checked(reader: NewInputs, inputs: Iterable[Any]) -> Iterator[Any]:
    """The inputs, after checking that the first readable one has what the run needs, as then all others should."""
    asked = False
    for item in inputs:
        if not asked and item is not None and not isinstance(item, UnreadInput):
            reader.require(item)
            asked = True
        yield item


def _in_turn(dealt: list[list[Any]], gathered: list[list[Answered]]) -> Iterator[Answered]:
    """The results of all ranks, each of which processed every W-th batch."""
    shares = [iter(share) for share in gathered]
    for number, batch in enumerate(dealt):
        yield from itertools.islice(shares[number % len(shares)], len(batch))


def _rounds(inputs: Iterable[Any], reader: NewInputs, world: World) -> Iterator[_Round]:
    """Rank 0's inputs as they come, on every rank."""
    source = _read_rounds(inputs, reader, world.size) if world.first else None
    while True:
        dealt = world.broadcast_object(None if source is None else next(source, None))
        if dealt is None:
            return
        yield dealt


def _read_rounds(inputs: Iterable[Any], reader: NewInputs, ranks: int) -> Iterator[_Round]:
    size = reader.pool * reader.batch_size
    most = 1 if reader.pool > 1 else _ROUND * ranks
    held: list[list[Any]] = []
    since = time.monotonic()
    batches = batched_as_they_come(inputs, size)
    while True:
        try:
            batch = next(batches, None)
        except DlkitError as error:
            yield _Round(held, error)
            return
        held += [batch] if batch else []
        pause = batch is not None and len(batch) < size
        if batch is None or len(held) == most or (pause and (held or time.monotonic() - since > _IDLE_SECONDS)):
            yield _Round(held)
            held, since = [], time.monotonic()
        if batch is None:
            return
