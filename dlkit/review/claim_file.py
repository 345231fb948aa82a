"""From a YAML file to a checked `Claim`: every problem at once, each with its line. Free of torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError, Problem, RecipeError
from dlkit.recipe import closest
from dlkit.recipe.check import check_value, quoted
from dlkit.recipe.strict_yaml import AmbiguousWord, Document, KeyPath, dotted, read_yaml, scalar
from dlkit.review.claim import FIRST, Arm, Claim, Experiment, FirstStage, PropertyTest
from dlkit.review.expectation import QUANTITIES, Expectation, parse_expectation
from dlkit.review.measure import TRAIN_LOSS
from dlkit.review.properties.registry import PROPERTIES

_TEXT: dict[str, Any] = {"type": "string"}
_CHANGES: dict[str, Any] = {"type": "object"}  # as a recipe is written
_SEEDS: dict[str, Any] = {"type": "integer", "minimum": 2, "maximum": 1000}
_ABOUT: dict[str, Any] = {
    "kind": {"enum": ["property", "arms"]},
    "section": _TEXT,
    "claim": _TEXT,
    "paper": _TEXT,
    "fixed": _TEXT,
}
_FIRST = {"type": "object", "properties": {"recipe": _TEXT, "changes": _CHANGES}, "required": ["recipe"]}
# What `full` may set anew.
_SIZE: dict[str, Any] = {
    "first": _FIRST, "recipe": _TEXT, "changes": _CHANGES, "ood": _TEXT, "seeds": _SEEDS,
    "smallest": {"type": "number"},
}  # fmt: skip
# The schema of each kind of claim, in the part of JSON Schema that recipes use.
SCHEMAS: dict[str, dict[str, Any]] = {
    "property": {
        "type": "object",
        "properties": {
            **_ABOUT,
            "property": _TEXT,
            "draws": {"type": "integer", "minimum": 1, "maximum": 10_000},
            "tolerance": {"type": "number", "minimum": 0},
        },
        "required": ["section", "claim", "property"],
    },
    "arms": {
        "type": "object",
        "properties": {
            **_ABOUT,
            **_SIZE,
            "arms": {"type": "object"},
            "measure": {"type": "string", "pattern": r"^[a-z]+/[a-z0-9_.]+$", "examples": ["test/accuracy"]},
            "at": {"anyOf": [{"enum": ["end", "mean"]}, {"type": "integer", "minimum": 1}]},
            "expect": _TEXT,
            "smallest": {"type": "number", "exclusiveMinimum": 0},
            "full": {"type": "object", "properties": _SIZE},
        },
        "required": ["section", "claim", "fixed", "recipe", "arms", "measure", "expect", "smallest"],
    },
}
DRAWS, TOLERANCE, SEEDS = 20, 1e-10, 5
_PART = "{model: {norm: batch}}"
_ARM = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def read_claim(path: Path) -> Claim:
    """Read and check a claim.

    Raises:
        RecipeError: with every problem found, as `file.yaml:LINE: dotted.key: message`.
        DlkitError: the file cannot be read.
    """
    try:
        document = read_yaml(path, str(path))
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror or error}") from error
    claim = _Reader(document).read(path)
    if claim is None:
        raise RecipeError(document.problems, "recipes/README.md says what a claim may hold", what="the claim")
    return claim


class _Reader:
    """Checks the values of a document, and reports each problem at its line."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def report(self, path: KeyPath, message: str) -> None:
        self.document.problems.append(Problem(self._place(path), dotted(path), message))

    def read(self, path: Path) -> Claim | None:
        """The claim, or None where there are problems."""
        values, problems = self.document.values, self.document.problems
        if not is_mapping(values):
            if not problems:
                self.report((), f"expected a mapping (section: ..., claim: ...), got {quoted(values)}")
            return None
        kind = values.get("kind")
        if kind not in SCHEMAS:
            near = closest(str(kind), SCHEMAS)
            self.report(("kind",), f"expected one of {', '.join(SCHEMAS)}, got {quoted(kind)}{near}")
            return None
        check_value(values, SCHEMAS[kind], (), self.report)
        test = full = None
        if kind == "property":
            test = self._property(values)
        else:
            test = self._experiment(values, path)
            if is_mapping(values.get("full")) and not problems:
                full = self._experiment({**values, **values["full"]}, path)
        if problems or test is None:
            return None
        paper = values.get("paper")
        return Claim(
            path.stem, path, str(values["section"]), " ".join(str(values["claim"]).split()), test,
            " ".join(str(values.get("fixed", "an identity: nothing was chosen")).split()),
            None if paper is None else str(paper), full,
        )  # fmt: skip

    def _property(self, values: Mapping[str, Any]) -> PropertyTest | None:
        name = values.get("property")
        if isinstance(name, str) and name not in PROPERTIES:
            self.report(("property",), f"no property {name!r}{closest(name, PROPERTIES)}")
        if self.document.problems:
            return None
        return PropertyTest(
            str(name), int(values.get("draws", DRAWS)), float(values.get("tolerance", TOLERANCE))
        )  # fmt: skip

    def _experiment(self, values: Mapping[str, Any], path: Path) -> Experiment | None:
        arms = self._arms(values.get("arms"), values.get("changes"))
        expect = self._expectation(values.get("expect"), [arm.name for arm in arms])
        if values.get("measure") == TRAIN_LOSS and values.get("at", "end") != "end":
            self.report(("at",), f"{TRAIN_LOSS} is measured at the end; set train.steps to end earlier")
        ood = values.get("ood")
        if str(values.get("measure")).startswith("ood/") != (ood is not None):
            self.report(("measure",), "measures ood/... go with images that no arm is trained on, such as ood: noise")
        elif ood is not None and values.get("at", "end") != "end":
            self.report(("at",), "ood/... is measured at the end")
        first = self._first(values.get(FIRST), arms, path)
        if self.document.problems or expect is None:
            return None
        at: Any = values.get("at", "end")
        return Experiment(
            _beside(path, str(values["recipe"])), arms, str(values["measure"]),
            at if isinstance(at, int) else "mean" if at == "mean" else "end",
            expect, float(values["smallest"]), int(values.get("seeds", SEEDS)), first, ood,
        )  # fmt: skip

    def _first(self, values: Any, arms: Sequence[Arm], path: Path) -> FirstStage | None:
        continued = [arm for arm in arms if arm.continues]
        if not is_mapping(values):
            for arm in continued:
                self.report(("arms", arm.name, "model", "weights"), f"there is no stage {FIRST}: {{recipe: ...}}")
            return None
        if arms and not continued:
            self.report((FIRST,), f"no arm starts from it; write model: {{weights: {FIRST}}} in one")
        return FirstStage(
            _beside(path, str(values.get("recipe"))), self._variant(FIRST, ((FIRST, "changes"), values.get("changes")))
        )

    def _arms(self, values: Any, common: Any) -> tuple[Arm, ...]:
        if not is_mapping(values):
            return ()
        if not values:
            self.report(("arms",), "expected at least one arm")
        found: list[Arm] = []
        for name, changes in values.items():
            if not _ARM.match(str(name)):
                self.report(("arms", name), "an arm's name has letters, digits and _ only, and begins with a letter")
            elif name in QUANTITIES:
                self.report(("arms", name), "an arm cannot be called like a quantity of the data")
            if not is_mapping(changes):
                self.report(("arms", name), f"expected a part of a recipe, such as {_PART}, got {quoted(changes)}")
                continue
            found.append(self._variant(str(name), (("changes",), common), (("arms", str(name)), changes)))
        return tuple(found)

    def _variant(self, name: str, *parts: tuple[KeyPath, Any]) -> Arm:
        """The changes that parts of a recipe make, later ones over earlier ones, and where each was written."""
        flat: list[str] = []
        places: dict[str, str] = {}
        for above, part in parts:
            for keys, value in _leaves(part if is_mapping(part) else {}):
                flat.append(f"{'.'.join(keys)}={_plain_text(value)}")
                places[".".join(keys)] = self._place((*above, *keys))
        return Arm(name, tuple(flat), self._place(parts[-1][0]), places)

    def _place(self, path: KeyPath) -> str:
        lines = self.document.lines
        line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
        return f"{self.document.where}:{line}"

    def _expectation(self, text: Any, arms: list[str]) -> Expectation | None:
        if not isinstance(text, str):
            return None
        try:
            return parse_expectation(text, arms)
        except ValueError as error:
            self.report(("expect",), str(error))
            return None


def _beside(path: Path, recipe: str) -> str:
    """A recipe by its name, or a file beside the claim, as what a recipe extends is beside it."""
    return str(path.parent / recipe) if recipe.endswith((".yaml", ".yml")) else recipe


def _leaves(part: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a part of a recipe, each with its keys."""
    for key, value in part.items():
        if is_mapping(value) and value:
            yield from _leaves(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def _plain_text(value: Any) -> str:
    """A value as KEY=VALUE has it."""
    plain = isinstance(value, str) and scalar(value) == value and not isinstance(scalar(value), AmbiguousWord)
    return str(value) if plain and not set(value) & set("[]{}#:,'\"") else json.dumps(value, ensure_ascii=False)
