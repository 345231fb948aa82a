"""Public names are unique and of the field's own words, and files are short."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dlkit"
MOST_LINES = 300
# Words for which the field has others: trial, dropout mask, listener, lock, request, OOD.
OLD_WORDS = {"toss", "tosses", "contender", "contenders", "survey", "surveys", "claim", "claims", "heard"}
OLD_CLASSES = {"Keep", "Look", "Job", "Tosses"}


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
    long = {
        str(path): count for path in PACKAGE.rglob("*.py") if (count := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_old_words_are_gone() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        names = names_of(ast.parse(path.read_text()))
        assert not {name for name in names if words_of(name) & OLD_WORDS}, path
        assert not names & OLD_CLASSES, path
