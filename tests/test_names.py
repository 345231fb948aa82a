"""Public names are unique and of the field's own words, and files are short."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "dlkit"
MOST_LINES = 300
# Words for which the field has others: dropout mask, OOD, lock, trial, listener, optimizer.
OLD_WORDS = {
    "toss", "tosses", "outside", "survey", "surveys", "told", "contender", "contenders", "heard",
}  # fmt: skip
OLD_CLASSES = {"Tosses", "Outside", "Keep", "Look", "Told", "Order", "Job"}
# Words that mean something else in other rooms: a download is requested, a recipe has components, a text has token ids
# at positions.
OLD_WORDS_OF_ROOMS = [
    (("download", "sweep"), {"order", "orders", "job", "keep"}),
    (("recipe", "assemble.py"), {"parts"}),
    (("data/text", "lm", "models", "tasks", "attention", "compression"), {"places", "numbers"}),
]


def names_of(tree: ast.AST) -> set[str]:
    """All identifiers that a module binds."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def words_of(name: str) -> set[str]:
    """The words of `snake_case` and of `CamelCase`, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


def test_no_two_public_functions_or_classes_share_a_name() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_no_file_is_long() -> None:
    """No test either."""
    lengths = {path: len(path.read_text().splitlines()) for path in [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]}
    assert {path: count for path, count in lengths.items() if count > MOST_LINES} == {}


def test_old_words_are_gone() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE)
        above = {room.as_posix(), *(folder.as_posix() for folder in room.parents)}
        old = OLD_WORDS.union(*(words for rooms, words in OLD_WORDS_OF_ROOMS if above & set(rooms)))
        names = {path.stem, *names_of(ast.parse(path.read_text()))}
        assert not {name for name in names if words_of(name) & old}, path
        assert not names & OLD_CLASSES, path


def test_rooms_of_old_words_are_there() -> None:
    assert all((PACKAGE / room).exists() for rooms, _ in OLD_WORDS_OF_ROOMS for room in rooms)


def test_old_words_are_gone_from_texts() -> None:
    """From help, messages and comments, too, where a word has no ordinary use."""
    for path in sorted(PACKAGE.rglob("*.py")):
        words = set(re.findall("[a-z]+", path.read_text().lower()))
        assert not words & {"tosses", "contender", "contenders", "survey", "surveys"}, path


@pytest.mark.parametrize("name", ["heard_by", "TossesOf", "_CONTENDERS", "race_survey"])
def test_an_old_word_is_found_inside_of_a_name(name: str) -> None:
    assert words_of(name) & OLD_WORDS
