"""What the catalog says of a component, and of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One component.

    Args:
        target: its constructor, as `module:attribute`.
        help: one line.
        also: constructors whose keywords it shares.
        tasks: what it can be used for; empty for everything.
        download: the data set that it needs; `{key}` in it stands for a key of the recipe's data.
        by_task: what stands for it in the recipes of each of its tasks, where these have different keys.
    """

    target: str
    help: str
    also: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    download: str = ""
    by_task: Mapping[str, Entry] = field(default_factory=dict[str, "Entry"])


@dataclass(frozen=True)
class TaskEntry:
    """One task.

    Args:
        target: what reads its data, as `module:attribute`; see `dlkit.tasks.task_data.TaskData`.
        help: one line.
        inputs: of its models: only recipes on text have a tokenizer.
        new_inputs: what reads inputs without labels, of which a trained model predicts something; see
            `dlkit.tasks.new_inputs.NewInputs`.
        batches: what makes batches of data of the user's own.
        contracts: section -> the name in `dlkit.contracts.CONTRACTS` of what a component of the user's own must be,
            where that is not the section's.
    """

    target: str
    help: str
    inputs: Literal["images", "rows", "text"]
    new_inputs: str = ""
    batches: tuple[str, ...] = ("dlkit.data.row_batches:RowBatches",)
    contracts: Mapping[str, str] = field(default_factory=dict[str, str])
