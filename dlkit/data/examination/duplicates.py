"""The same example in more than one split, or twice in one. What a model was trained on says nothing about others."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dlkit.errors import DlkitError

_NAMED = 10  # pairs of a pair of splits that are named
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class KeyedExample:
    """An example: what the user calls it, a hash of its content, and its class or other answer."""

    name: str
    key: bytes
    answer: Any


def find_duplicates(splits: Mapping[str, Iterable[KeyedExample]]) -> dict[str, Any]:
    """Examples whose content is that of another.

    `within` maps a split to how many of its examples repeat an earlier one of it. `across` has a record for each two
    splits that share content: how many examples of the second are in the first too, in how many of these the answers
    differ, and the names of the first few.
    """
    held: dict[str, dict[bytes, KeyedExample]] = {}
    within: dict[str, int] = {}
    repeated: dict[str, Counter[bytes]] = {}
    for split, examples in splits.items():
        first: dict[bytes, KeyedExample] = {}
        times = Counter[bytes]()
        for example in examples:
            times[first.setdefault(example.key, example).key] += 1
        held[split], repeated[split] = first, times
        within[split] = times.total() - len(first)
    across: list[dict[str, Any]] = []
    for one, other in itertools.combinations(held, 2):
        shared = [key for key in held[other] if key in held[one]]
        if not shared:
            continue
        pairs = [(held[one][key], held[other][key]) for key in shared]
        across.append({
            "splits": [one, other],
            "count": sum(repeated[other][key] for key in shared),
            "answers_differ": sum(a.answer != b.answer for a, b in pairs),
            "examples": [[a.name, b.name] for a, b in pairs[:_NAMED]],
        })  # fmt: skip
    return {"within": within, "across": across}


def keyed_rows(inputs: Tensor, answers: Sequence[Any], name: Callable[[int], str]) -> Iterator[KeyedExample]:
    """Examples of a tensor, one a row; equal are those with the same bytes."""
    for index, (row, answer) in enumerate(zip(inputs, answers, strict=True)):
        yield KeyedExample(name(index), _digest(row.contiguous().numpy().data), answer)


def keyed_texts(first: Sequence[str], second: Sequence[str] | None, answers: Sequence[Any]) -> Iterator[KeyedExample]:
    """Texts or pairs of texts; a text goes by its own beginning."""
    for index, (text, answer) in enumerate(zip(first, answers, strict=True)):
        parts = (text, second[index]) if second is not None else (text,)
        yield KeyedExample(_shown(text), _digest("\0".join(parts).encode("utf-8", "surrogatepass")), answer)


def keyed_files(
    paths: Mapping[str, Sequence[str]], answers: Mapping[str, Sequence[Any]]
) -> dict[str, list[KeyedExample]]:
    """Files of each split. Only those of equal size are read.

    Raises:
        DlkitError: a file cannot be read.
    """
    sizes = {path: _size(path) for files in paths.values() for path in files}
    alike = Counter(sizes.values())
    return {
        split: [
            KeyedExample(
                path, _file_digest(path) if alike[sizes[path]] > 1 else path.encode("utf-8", "surrogateescape"), answer
            )
            for path, answer in zip(files, answers[split], strict=True)
        ]
        for split, files in paths.items()
    }


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}") from error


def _file_digest(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}") from error
    return digest.digest()


def _shown(text: str, most: int = 60) -> str:
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
