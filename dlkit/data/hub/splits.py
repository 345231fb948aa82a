"""Which splits of a data set are train, val and test, by their names. Free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dlkit.data.hub.opened import HubData
from dlkit.data.split_names import split_of_folder
from dlkit.errors import DlkitError, RequestError


@dataclass
class ChosenSplits:
    """`names` maps train, val and test to the splits of the data set; `left_out` maps the others to the reason."""

    names: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict[str, str])

    def leave_out(self, split: str, why: str) -> None:
        """Leave out one that was taken so far."""
        self.left_out[self.names.pop(split)] = why


def choose_splits(data: HubData, asked: str | None, complete: bool) -> ChosenSplits:
    """The splits of a data set by what they are called: validation, dev, test_matched, ...

    Args:
        data: the data set.
        asked: the only one to take, as "train"; None for all that have the name of a split.
        complete: whether there must be a training split.

    Raises:
        RequestError: there is no such split.
        DlkitError: there is no training split.
    """
    if asked is not None:
        if asked not in data.splits:
            raise RequestError(f"{data.shown} has no split {asked!r}", f"its splits: {', '.join(data.splits)}")
        others = dict.fromkeys((name for name in data.splits if name != asked), "")
        return ChosenSplits({"train": asked}, others)
    found = ChosenSplits({})
    # a name of its own goes before one with an addition, such as validation_matched
    for name in sorted(data.splits, key=lambda name: split_of_folder(name) is None):
        split = split_of_folder(name) or split_of_folder(re.split(r"[\W_]", name)[0])
        if split is None or split in found.names:
            found.left_out[name] = f"{split} is {found.names[split]}" if split else "not called after a split"
        else:
            found.names[split] = name
    if not found.names and len(data.splits) == 1:
        return ChosenSplits({"train": data.splits[0]})
    if "train" not in found.names and (complete or not found.names):
        raise DlkitError(
            f"{data.shown} has no split called train, but {', '.join(data.splits)}",
            f"say which one to train on: data.split={data.splits[0]}",
        )
    found.names = {split: found.names[split] for split in ("train", "val", "test") if split in found.names}
    return found
