"""What is asked about the attention of a model, checked as far as can be before any work is done. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dlkit.errors import RequestError

# As in dlkit.attention.metrics, which needs torch.
MEASURES = (
    "entropy", "entropy_share", "sink", "first", "previous", "next", "same", "duplicate", "prefix", "distance",
    "diagonality", "induction",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The options of the command, as given."""

    run: str
    pair: str | None
    layers: str | None
    heads: str | None
    tokens: str | None
    measure: str | None
    by_value: bool
    stack: bool
    target: int | None
    ablate: bool
    null: bool | None
    repeats: int
    random_from: str | None
    compare: str | None
    steps: bool
    checkpoint: str | None
    targets: dict[str, Path | None]
    cut: bool
    seed: int
    device: str

    @property
    def files(self) -> dict[str, Path]:
        """Option to file, of those to write."""
        return {option: path for option, path in self.targets.items() if path is not None}

    def check(self) -> None:
        """Raise RequestError for what cannot go together or cannot be read."""
        allowed = (*MEASURES, *(["ablation"] if self.ablate else []))
        if self.measure is not None and self.measure not in allowed:
            raise RequestError(f"no measure {self.measure!r}", f"--measure takes {', '.join((*MEASURES, 'ablation'))}")
        if self.steps and self.checkpoint is not None:
            raise RequestError("--steps goes over all checkpoints, --checkpoint names one", "leave one of them out")
        if self.steps and self.compare is not None:
            raise RequestError("--steps and --compare exclude each other", "compare two checkpoints: RUN and RUN2")
        for option, given in (("--stack", self.stack), ("--ablate", self.ablate), ("--html", self.files.get("--html"))):
            if self.steps and given:
                raise RequestError(f"{option} is for one checkpoint, not for --steps", f"leave {option} out")
        if self.compare == "-":
            raise RequestError("only RUN can come from standard input, not --compare", "name the second run")
        try:
            (self.random_from or "").encode()
        except UnicodeEncodeError as error:
            text = f"--random-from is not UTF-8: {(self.random_from or '')[:40]!r}"
            raise RequestError(text, "give it as UTF-8") from error
        if self.target is not None and not self.stack:
            raise RequestError("--target is the token that --stack follows, which is not given", "add --stack")
        for option in ("--layers", "--heads"):
            selected(option, self.layers if option == "--layers" else self.heads, None)
        token_range(self.tokens, None)


def selected(option: str, text: str | None, count: int | None) -> list[int]:
    """The numbers that `0,3-5` names, in order, or all of `count` for None.

    Args:
        count: how many there are; None while that is not known.

    Raises:
        RequestError: no list of numbers, or one that does not exist; those that do are listed.
    """
    if text is None:
        return list(range(count or 0))
    if not re.fullmatch(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", text):
        raise RequestError(f"{option} {text!r} is no list of numbers", f"like {option} 0,3-5")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) < int(first):
            raise RequestError(f"{option} {part!r} goes backwards", f"like {option} 0,3-5")
        found |= set(range(int(first), int(last or first) + 1))
    if count is not None and max(found) >= count:
        name = option.strip("-")
        there = f"{name} 0 to {count - 1}" if count > 1 else f"{name[:-1]} 0"
        raise RequestError(f"there is no {name[:-1]} {max(found)}", f"the model has {there}")
    return sorted(found)


def token_range(text: str | None, count: int | None) -> tuple[int, int]:
    """The tokens from A and before B that `A:B` names; everything for None. `count` as in `selected`."""
    whole = (0, count or 0)
    if text is None:
        return whole
    match = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text)
    if match is None:
        raise RequestError(f"--tokens {text!r} is no range", "like --tokens 0:64, where 64 is the first one left out")
    start, stop = int(match[1] or 0), int(match[2]) if match[2] else count
    if stop is not None and start >= stop:
        raise RequestError(
            f"--tokens {text} holds no token", f"the text has {count}" if count else "like --tokens 0:64"
        )
    if count is not None and stop is not None and stop > count:
        raise RequestError(f"--tokens {text}: the text has {count} tokens", f"like --tokens 0:{count}")
    return start, stop or 0
