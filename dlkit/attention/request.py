"""The options of `dlkit inspect-attention`, checked as far as possible before any work is done. Free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dlkit.errors import RequestError
from dlkit.plotting import require_figure
from dlkit.storage.atomic_file import require_target

# Those of dlkit.attention.metrics, which imports torch, and induction.
METRICS = (
    "entropy", "entropy_share", "sink", "first", "previous", "next", "same", "duplicate", "prefix", "distance",
    "diagonality", "induction",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InspectionRequest:
    """The command's options, as given; `lines` if the texts are the lines of a file.

    Raises:
        RequestError: options exclude each other or have malformed values, or a file cannot be written.
    """

    run: str
    lines: bool = False
    pair: str | None = None
    layers: str | None = None
    heads: str | None = None
    tokens: str | None = None
    measure: str | None = None
    by_value: bool = False
    stack: bool = False
    target: int | None = None
    ablate: bool = False
    null: bool | None = None
    repeats: int = 4
    random_from: str | None = None
    compare: str | None = None
    steps: bool = False
    checkpoint: str | None = None
    html: Path | None = None
    png: Path | None = None
    svg: Path | None = None
    npz: Path | None = None
    cut: bool = False
    seed: int = 0
    device: str = "auto"

    @property
    def files(self) -> dict[str, Path]:
        """The file of each option that writes one."""
        paths = {"html": self.html, "png": self.png, "svg": self.svg, "npz": self.npz}
        return {option: path for option, path in paths.items() if path is not None}

    @property
    def shown_measure(self) -> str:
        """The score of the views: the one asked for, or that which says most."""
        return self.measure or ("induction" if self.steps else "entropy")

    def __post_init__(self) -> None:
        allowed = (*METRICS, *(["ablation"] if self.ablate else []))
        if self.measure is not None and self.measure not in allowed:
            raise RequestError(f"no measure {self.measure!r}", f"`measure` takes {', '.join((*METRICS, 'ablation'))}")
        if self.steps and self.checkpoint is not None:
            raise RequestError("`steps` goes over all checkpoints, `checkpoint` names one", "leave one of them out")
        if self.steps and self.compare is not None:
            raise RequestError("`steps` and `compare` exclude each other", "compare two checkpoints: RUN and RUN2")
        for option, given in (("stack", self.stack), ("ablate", self.ablate), ("html", self.html)):
            if self.steps and given:
                raise RequestError(f"`{option}` is for one checkpoint, not for `steps`", f"leave `{option}` out")
        if self.steps and self.npz is not None:
            raise RequestError("`npz` is for one checkpoint, not for `steps`", "draw the steps with `png` or `svg`")
        if self.lines and not self.steps:
            for option in self.files:
                raise RequestError(f"`{option}` shows one text, `lines` is many", "give a TEXT")
            if self.stack:
                raise RequestError("`stack` is for one text, `lines` is many", "give a TEXT")
        if self.compare == "-":
            raise RequestError("only RUN can come from standard input, not `compare`", "name the second run")
        try:
            (self.random_from or "").encode()
        except UnicodeEncodeError as error:
            text = f"`random_from` is not UTF-8: {(self.random_from or '')[:40]!r}"
            raise RequestError(text, "give it as UTF-8") from error
        if self.target is not None and not self.stack:
            raise RequestError("`target` is the token that `stack` follows, which is not given", "add `stack`")
        parse_indices("layers", self.layers, None)
        parse_indices("heads", self.heads, None)
        parse_token_range(self.tokens, None)
        for option, path in self.files.items():
            if option in ("png", "svg"):
                require_figure(f"`{option}`", path)
            else:
                require_target(f"`{option}`", path, (f".{option}",))


def parse_indices(option: str, text: str | None, count: int | None) -> list[int]:
    """The indices in a list such as `0,3-5`, in ascending order; all of `count` for None.

    Args:
        option: the option's name, for error messages.
        text: its value.
        count: how many there are; None if not known yet.

    Raises:
        RequestError: the list is malformed, or an index is not below `count`.
    """
    if text is None:
        return list(range(count or 0))
    if not re.fullmatch(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", text):
        raise RequestError(f"`{option}` {text!r} is not a list of numbers", f"like `{option}` 0,3-5")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) < int(first):
            raise RequestError(f"`{option}` {part!r} goes backwards", f"like `{option}` 0,3-5")
        found |= set(range(int(first), int(last or first) + 1))
    if count is not None and max(found) >= count:
        there = f"{option} 0 to {count - 1}" if count > 1 else f"{option[:-1]} 0"
        raise RequestError(f"there is no {option[:-1]} {max(found)}", f"the model has {there}")
    return sorted(found)


def parse_token_range(text: str | None, count: int | None) -> tuple[int, int]:
    """The range (A, B) of a text such as `A:B`, B excluded; everything for None. `count` as in `parse_indices`."""
    whole = (0, count or 0)
    if text is None:
        return whole
    match = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text)
    if match is None:
        raise RequestError(f"`tokens` {text!r} is not a range", "like `tokens` 0:64, which leaves out 64")
    start, stop = int(match[1] or 0), int(match[2]) if match[2] else count
    if stop is not None and start >= stop:
        raise RequestError(
            f"`tokens` {text} holds no token", f"the text has {count}" if count else "like `tokens` 0:64"
        )
    if count is not None and stop is not None and stop > count:
        raise RequestError(f"`tokens` {text}: the text has {count} tokens", f"like `tokens` 0:{count}")
    return start, stop or 0
