"""Imports point downwards only, and the torch-free modules stay free of torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dlkit"
# Small modules on which everything may rest, and what each of them rests on.
LEAVES = {
    "contracts": set[str](),
    "errors": set[str](),
    "finite": {"errors"},
    "hub_reference": set[str](),
    "annotations": set[str](),
    "catalog_entry": set[str](),
    "lines": set[str](),
    "processors": set[str](),
    "progress": set[str](),
    "guarded_import": {"errors", "memory"},
    "memory": {"errors"},
    "plotting": {"errors", "storage"},
    "strict_json": {"annotations"},
    "storage": {"errors", "lines", "strict_json", "text_input"},
    "text_input": {"annotations", "errors", "strict_json"},
    "user_code": {"errors", "text_input"},
}
RECIPE = {"catalog", "recipe", "schedules"}
# What each part may import from dlkit at module level or inside functions, besides itself and the leaves.
MAY = {
    "catalog": set[str](),
    "recipe": {"catalog"},
    "schedules": set[str](),
    "kernels": set[str](),
    "distributed": set[str](),
    "nn": {"kernels", "catalog", "distributed"},
    "losses": {"kernels", "distributed"},
    "optim": {"distributed"},
    "data": {"metrics", "distributed"},
    "metrics": set[str](),
    "models": {"nn"},
    "lm": {*RECIPE, "nn", "models", "kernels", "data", "training", "pretrained", "tasks"},
    "pretrained": {"nn", "models", "data", "training"},  # of training, checkpoints: a run as weights, verified
    "training": {"nn", "kernels", "data", "distributed"},
    "export": {"models", "pretrained", "data"},
    "tasks": {*RECIPE, "distributed", "losses", "nn", "kernels", "data", "metrics", "training", "pretrained"},
    "vectorized": {"nn", "kernels", "data", "training", "metrics"},
    "sweep": {"catalog", "distributed", "training", "vectorized"},
    "attention": {"nn", "models", "data", "losses"},
    "compression": {"nn", "models", "optim", "losses", "data", "schedules", "training"},
    "assemble": {*RECIPE, "training", "tasks", "distributed"},
    "review": {*RECIPE, "nn", "models", "losses", "optim", "data", "information", "compression", "sweep"},
    "app": {
        *RECIPE, "assemble", "models", "pretrained", "data", "training", "tasks", "metrics", "sweep", "vectorized",
        "attention", "lm", "compression", "information", "distributed", "review", "export",
    },
    "doctor": {
        *RECIPE, "app", "assemble", "lm", "kernels", "attention", "compression", "training", "tasks",
        "vectorized", "sweep", "data", "models",
    },
    "information": set[str](),
    "runs": {"recipe", "plotting"},
    "download": {"data"},
    "cli": {
        *RECIPE, "app", "assemble", "lm", "attention", "compression", "training", "information", "sweep",
        "vectorized", "metrics", "data", "download", "doctor", "distributed", "runs", "review",
    },
}  # fmt: skip
TORCH_FREE = [
    "errors",
    "lines",
    "processors",
    "progress",
    "text_input",
    "strict_json",
    "app.events",
    "app.resume",
    "app.components",
    "app.contents",
    "app.extension",
    "app.compress",
    "app.entropy",
    "app.stream_entropy",
    "app.distribution_entropy",
    "app.export",
    "app.exported_directory",
    "app.generate",
    "app.import_model",
    "app.inspect",
    "app.predict",
    "app.prediction",
    "app.race",
    "app.review",
    "app.score",
    "app.train",
    "app.evaluate",
    "app.glue",
    "app.recipes",
    "app.required_files",
    "storage.atomic_file",
    "storage.lock",
    "storage.run_files",
    "runs.listed_run",
    "runs.listing",
    "runs.selection",
    "runs.comparison",
    "runs.pruning",
    "storage.run_reference",
    "memory",
    "guarded_import",
    "annotations",
    "catalog",
    "recipe",
    "schedules",
    "review.claim",
    "review.claim_file",
    "review.find",
    "review.review_folder",
    "user_code",
    "training.settings",
    "training.events",
    "information.streams",
    "information.codes",
    "information.bootstrap",
    "information.surprisal_page",
    "data.images.image_inputs",
    "data.hub.place",
    "data.registry",
    "data.store",
    "data.text.prepared",
    "download.obtain_dataset",
    "download.image_arrays",
    "doctor.registry",
    "doctor.finding",
    "distributed.torchrun",
    "export.formats",
]


def imported(path: Path) -> set[str]:
    """Parts of dlkit that a file imports, anywhere in it, `if TYPE_CHECKING` included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dlkit":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("dlkit.")}
    return found - {"__version__"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if part_of(path) not in ("__init__", "__main__")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    part = part_of(path)
    allowed = LEAVES[part] | {part} if part in LEAVES else MAY[part] | {part, *LEAVES}
    if path.name == "generate.py":  # the generator of the schema, which never runs in a command
        allowed |= {"training"}
    assert imported(path) <= allowed


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def modules_imported(path: Path) -> set[str]:
    """Modules of dlkit that a file imports, anywhere in it but under `if TYPE_CHECKING`."""
    known, found = {module_of(file) for file in PACKAGE.rglob("*.py")}, set[str]()
    tree = ast.parse(path.read_text())
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside | {node.module}) if inside - known else inside
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known - {module_of(path)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module_of(path): modules_imported(path) for path in PACKAGE.rglob("*.py")}
    before: set[str] = set()
    while before != left.keys():  # whatever imports none of the rest, or is imported by none of it, is in no circle
        before = set(left)
        needed = set[str]().union(*left.values())
        left = {name: needs & before for name, needs in left.items() if needs & before and name in needed}
    assert not left


def test_only_the_command_line_knows_rich_and_typer() -> None:
    for path in FILES:
        names = {
            (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert part_of(path) == "cli" or not names & {"rich", "typer"}, path


def test_torch_free_modules() -> None:
    code = f"import sys\nfor name in {TORCH_FREE!r}: __import__('dlkit.' + name)\nprint('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_the_command_line_imports_nothing_heavy_at_its_top() -> None:
    names = [module_of(path) for path in FILES if part_of(path) == "cli"]
    heavy = ("torch", "numpy", "scipy", "matplotlib", "pyarrow", "datasets")
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        f"    loaded = [heavy for heavy in {heavy!r} if heavy in sys.modules]\n    assert not loaded, (name, loaded)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_file_is_called_utils() -> None:
    assert not [path for path in FILES if "util" in path.stem]
