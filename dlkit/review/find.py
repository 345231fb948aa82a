"""Where claims come from: the names of those that come with dlkit, or files of the user's. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dlkit.errors import RequestError
from dlkit.recipe import closest
from dlkit.recipe.find import SUFFIXES, recipes_folder
from dlkit.review.claim import Claim
from dlkit.review.claim_file import read_claim

# The sections of the review, in its order; claims of other sections come after these.
SECTIONS = (
    "Residual networks", "Normalization", "Dropout", "Activations", "Softmax", "Multilayer perceptrons", "Convolution",
    "From ResNet to ConvNeXt", "Attention", "BERT and GPT", "Description length", "Entropy", "L2 regularization",
    "Gradient descent", "Momentum", "AdaGrad and RMSProp", "Adam and AdamW", "Schedules", "Datasets", "Errata",
)  # fmt: skip


def shipped_claims() -> dict[str, Path]:
    """The claims that come with dlkit, by name."""
    return {path.stem: path for path in sorted((recipes_folder() / "review").glob("*.yaml"))}


def list_claims(section: str | None = None) -> list[Claim]:
    """The claims that come with dlkit, in the order of the review.

    Args:
        section: only those of it; None for all. Its first letters do, in any case.

    Raises:
        RequestError: there is no such section.
    """
    found = sorted(map(read_claim, shipped_claims().values()), key=lambda claim: (_position(claim.section), claim.name))
    if section is None:
        return found
    chosen = [claim for claim in found if claim.section.lower().startswith(section.lower())]
    if not chosen:
        sections = list(dict.fromkeys(claim.section for claim in found))
        raise RequestError(f"no section {section!r}{closest(section, sections)}", f"these are: {', '.join(sections)}")
    return chosen


def _position(section: str) -> int:
    return SECTIONS.index(section) if section in SECTIONS else len(SECTIONS)


def find_claims(names: Sequence[str]) -> list[Claim]:
    """Claims by name or by file, each once. Raises RequestError if there is no such claim."""
    found: dict[Path, Claim] = {}
    for name in names:
        path = locate_claim(name)
        found.setdefault(path.resolve(), read_claim(path))
    stems = [claim.name for claim in found.values()]
    if (twice := next((stem for stem in stems if stems.count(stem) > 1), None)) is not None:
        raise RequestError(f"two claims are called {twice}", "rename one of the files")
    return list(found.values())


def locate_claim(name: str) -> Path:
    """The file of a claim, by name or path. Raises RequestError if there is none."""
    path, known = Path(name), shipped_claims()
    if path.suffix in SUFFIXES or os.sep in name or path.is_file():
        if not path.is_file():
            raise RequestError(f"no such file: {name}", "`dlkit review list` shows the claims by name")
        return path
    if name not in known:
        raise RequestError(f"no claim {name!r}{closest(name, known)}", "`dlkit review list` shows them all")
    return known[name]
