"""YAML without its traps: numbers are numbers, a key stands once, every value knows its line.

Scalars follow the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema), so `1e-3` is a float and
`2001-01-01` a string. Duplicate keys, tags, merge keys, non-finite numbers and files that unfold into more than
`MAX_VALUES` values are problems with a line number.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dlkit import text_input
from dlkit.errors import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 10_000

KeyPath = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_AMBIGUOUS = frozenset(["yes", "no", "on", "off", "y", "n"])


class AmbiguousWord(str):
    """An unquoted yes, no, on, off, y or n: a boolean to YAML 1.1, a string to YAML 1.2.

    The checker takes it only where the recipe's schema lists the very word as a choice.
    """


@dataclass
class Document:
    """A YAML file as plain values, with the line of each key path and the problems met on the way."""

    where: str
    values: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    problems: list[Problem] = field(default_factory=list[Problem])

    def problem(self, line: int, path: KeyPath, message: str) -> None:
        where = f"{self.where}:{line}" if line else self.where
        self.problems.append(Problem(where, dotted(path), message))


def dotted(path: KeyPath) -> str:
    """`("optimizer", "betas", 0)` as `optimizer.betas[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_yaml(path: Path | None, where: str) -> Document:
    """Read a file, or standard input for None; `where` is how messages name it. Raises OSError if it cannot be read."""
    return parse_yaml(text_input.read_start(path, MAX_BYTES + 1), where)


def parse_yaml(data: bytes, where: str) -> Document:
    """Parse bytes. Never raises on bad content: it is in `problems`."""
    document = Document(where)
    if len(data) > MAX_BYTES:
        document.problem(0, (), f"larger than {MAX_BYTES:,} bytes: not a recipe")
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.problem(line, (), f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}")
        return document
    try:
        if _is_plain(text, document):
            node = yaml.compose(text, Loader=_LOADER)
            if node is not None:
                _Builder(document).build(node, ())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        message = getattr(error, "problem", None) or " ".join(str(error).split())
        # libyaml's scanner has a limit of its own, which it meets before the first event comes
        deep = "nesting depth" in message
        text = f"nested more than {MAX_DEPTH} deep" if deep else f"not YAML: {message}"
        document.problem(mark.line + 1 if mark else 1, (), text)
    return document


def _is_plain(text: str, document: Document) -> bool:
    """Look at the stream of events first: tags, depth and document count, before anything recursive runs."""
    depth = documents = 0
    events: Any = yaml.parse(text, Loader=_LOADER)
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                document.problem(line, (), "a second document begins here: a recipe is one document")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                document.problem(line, (), f"nested more than {MAX_DEPTH} deep")
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            document.problem(line, (), f"YAML tags are not allowed: {tag}")
    return not document.problems


class _Builder:
    """Turn composed nodes into plain values, with a budget that aliases cannot outgrow."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.open: set[int] = set()

    def build(self, node: Any, path: KeyPath) -> None:
        self.document.values = self._value(node, path)

    def _value(self, node: Any, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        self.count += 1
        if self.count == MAX_VALUES:
            self.document.problem(line, path, f"aliases unfold into more than {MAX_VALUES:,} values")
        if self.count >= MAX_VALUES:
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if id(node) in self.open:
            self.document.problem(line, path, "an alias that contains itself")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.problem(line, path, "a key must be a word")
                continue
            key = str(key_node.value)
            here: KeyPath = (*path, key)
            if key == "<<" and not key_node.style:
                self.document.problem(line, here, "merge keys are not allowed: use `extends`")
            elif key in values:
                first = self.document.lines[here]
                self.document.problem(line, here, f"duplicate key: first set on line {first}")
            else:
                self.document.lines[here] = line
                values[key] = self._value(value_node, here)
        return values

    def _scalar(self, node: Any, path: KeyPath, line: int) -> Any:
        if node.style:  # quoted or block: a string, whatever it looks like
            return str(node.value)
        try:
            return scalar(node.value)
        except ValueError as error:
            self.document.problem(line, path, str(error))
            return None


def scalar(text: str) -> Any:
    """The value of an unquoted scalar. Raises ValueError on a number that is not finite."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text.lower() in _AMBIGUOUS:
        return AmbiguousWord(text)
    if len(text) > 300:
        return text
    if _INTEGER.match(text):
        return int(text, 16) if text.startswith("0x") else int(text)
    if _NOT_FINITE.match(text) or (_FLOAT.match(text) and math.isinf(float(text))):
        raise ValueError(f"not a finite number: {text}")
    return float(text) if _FLOAT.match(text) else text


def dump_yaml(values: Any) -> str:
    """YAML text that `parse_yaml` reads back as it was, which PyYAML's own does not do for strings like `0E0`."""
    module: Any = yaml  # whose stubs leave types open
    return module.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


class _Dumper(yaml.SafeDumper):
    """PyYAML quotes what it would take for a number itself, by YAML 1.1; the reader goes by YAML 1.2."""


def _represent_string(dumper: Any, text: str) -> Any:
    looks_like_text = not (_FLOAT.match(text) or _INTEGER.match(text))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if looks_like_text else "'")


_Dumper.add_representer(str, _represent_string)
