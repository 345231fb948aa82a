"""`dlkit components` and `dlkit recipes list`."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

from dlkit.catalog import ACTIVATIONS, SECTIONS, TASKS, import_object
from tests.cli.conftest import Here


def records(here: Here, *arguments: str) -> list[dict[str, Any]]:
    return here("components", *arguments).records


def test_everything_of_the_catalog_is_there_once(here: Here) -> None:
    found = [(record["kind"], record["name"]) for record in records(here)]
    expected = [(kind, name) for kind, entries in SECTIONS.items() for name in entries]
    expected += [("task", name) for name in TASKS] + [("activation", name) for name in ACTIVATIONS]
    assert set(expected) <= set(found)
    several = [(record["kind"], record["name"], *record.get("tasks", ())) for record in records(here)]
    assert len(several) == len(set(several))
    assert here("components", "data", "-q").out.split() == list(SECTIONS["data"])


@pytest.mark.parametrize("name", SECTIONS["optimizer"])
def test_options_and_defaults_are_those_of_the_constructor(here: Here, name: str) -> None:
    (record,) = records(here, f"optimizer.{name}")
    entry = SECTIONS["optimizer"][name]
    parameters = {
        key: parameter.default
        for target in (entry.target, *entry.also)
        for key, parameter in inspect.signature(import_object(target)).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert record["options"].keys() == parameters.keys()
    for key, default in parameters.items():
        option = record["options"][key]
        if default is inspect.Parameter.empty:
            assert option["required"] is True
        else:
            assert option["default"] == json.loads(json.dumps(default))


def test_a_kind_a_name_or_both(here: Here) -> None:
    assert {record["kind"] for record in records(here, "schedule")} == {"schedule"}
    assert here("components", "norm", "-q").out.split() == ["batch", "layer", "group", "none"]
    assert records(here, "adamw") == records(here, "optimizer.adamw")
    assert records(here, "cifar10")[0]["needs"] == "dlkit download cifar10"
    refused = here("components", "adamx")
    assert refused.code == 2
    assert "error: no component 'adamx' (did you mean adam" in refused.err


@pytest.mark.parametrize(
    ("name", "paper"),
    [("resnet20", "arXiv:1512.03385"), ("adamw", "arXiv:1711.05101"), ("gpt2", "Radford et al. 2019"),
     ("gpt1", "Radford et al. 2018"), ("bert_base", "arXiv:1810.04805"), ("superglue", "arXiv:1905.00537"),
     ("layer", "arXiv:1607.06450"), ("gelu", "arXiv:1606.08415"), ("cosine", "arXiv:1608.03983"),
     ("cnn", "LeCun et al. 1998"),
     ("muon", "Jordan et al. 2024"), ("convnext_tiny", "arXiv:2201.03545")],
)  # fmt: skip
def test_papers_as_the_literature_has_them(here: Here, name: str, paper: str) -> None:
    assert paper in records(here, name)[0]["paper"]


def test_no_paper_where_there_is_none(here: Here) -> None:
    assert [records(here, name)[0]["paper"] for name in ("byte", "csv", "none")] == [None] * 3


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from dlkit.cli.app import run; run(['components']); run(['recipes', 'list'])\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_recipes_say_their_task_what_they_need_and_how_long_they_take(here: Here) -> None:
    found = {record["name"]: record for record in map(json.loads, here("recipes", "list").out.splitlines())}
    digits, yours = found["digits-resnet20"], found["csv-mlp"]
    assert (digits["task"], digits["data"], digits["seconds"]) == ("image-classification", "embedded", 14)
    assert (yours["task"], yours["data"], yours["seconds"]) == ("tabular-classification", "yours", None)
    assert found["sst2-bert"]["data"] == "download"
