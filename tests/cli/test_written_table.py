"""Tables to paste, read back by a Markdown parser and by a reader of LaTeX's own rules: same texts, same numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from dlkit.cli.app import run
from dlkit.cli.written_table import TableForm, WrittenTable, table_of

# what Markdown, GitHub or LaTeX would take for a mark of its own
NAMES = [
    "a|b", "a_b_c", "50 %", "R&D", "#1", "*bold*", "`code`", "[a](b)", "<b>x</b>", "&amp;", "$x^2$", "~~no~~", "a\\b",
    "\\", "{a}", "--seed", "a--b", "?`", "[2pt]", "''", "*", "漢字", "~/runs", "^", "ends in \\|", "https_x", "é",
]  # fmt: skip


def read_markdown(text: str) -> list[list[list[str]]]:
    """The tables of a document, as CommonMark's reference parser for Python reads GitHub's tables."""
    tables: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline":
            assert {child.type for child in token.children or ()} <= {"text"}, token.content
            tables[-1][-1].append("".join(child.content for child in token.children or ()))
    return tables


LETTERS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|",
}  # fmt: skip
LIGATURES = {"--": "\N{EN DASH}", "?`": "¿", "!`": "¡", "''": "”", "``": "“"}
TOKEN = re.compile(r"\\([a-zA-Z]+)[ ]*|\\(.)|(.)", re.DOTALL)


def read_latex(text: str) -> list[list[list[str]]]:
    """What each cell of each table prints, by TeX's rules: a token at a time, ligatures and line breaks included."""
    tables: list[list[list[str]]] = []
    for body in re.findall(r"\\begin\{tabular\}\{[lr]+\}[^\n]*\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows: list[list[str]] = [[""]]
        joins, after_break = False, False  # a character with the one before; with the end of a row
        for command, symbol, character in TOKEN.findall(body):
            if command in ("toprule", "midrule", "bottomrule"):
                assert not "".join(rows[-1]).strip()
            elif symbol == "\\":
                rows.append([""])
                after_break = True
            elif character == "&":
                rows[-1].append("")
            elif character not in ("{", "}"):
                assert character not in set("%$#_^~<>|"), f"{character!r} is no text"
                assert not (after_break and character == "["), "an option of the line break"
                assert symbol in set("&%$#_{}") | {""}
                printed = LETTERS[command] if command else symbol or character
                pair = rows[-1][-1][-1:] + printed
                rows[-1][-1] = rows[-1][-1][:-1] + (LIGATURES.get(pair, pair) if joins else pair)
            after_break = symbol == "\\" or (after_break and character.isspace())
            joins = character not in ("{", "}", "&")
        assert not "".join(rows.pop()).strip()
        tables.append([[cell.strip() for cell in row] for row in rows])
    return tables


READERS = {"markdown": read_markdown, "latex": read_latex}


@pytest.mark.parametrize("form", list(TableForm))
def test_every_text_and_number_is_read_as_it_is(form: TableForm) -> None:
    numbers = [0.1 + 0.2, -1.5e-12, 3, float("nan"), None, True]
    rows = [[name, numbers[index % len(numbers)]] for index, name in enumerate(NAMES)]
    (found,) = READERS[form](WrittenTable(["a_name", "50 %"], rows).as_text(form))
    assert found[0] == ["a_name", "50 %"]
    none = {"markdown": "-", "latex": "\N{EN DASH}"}[form]
    shown = ["0.30000000000000004", "-1.5e-12", "3", none, none, "true"]
    assert found[1:] == [[name, shown[index % len(shown)]] for index, name in enumerate(NAMES)]


@pytest.mark.parametrize("form", list(TableForm))
def test_columns_stand_below_each_other(form: TableForm) -> None:
    from rich.cells import cell_len

    text = WrittenTable(["name", "n"], [["漢字", 1], ["a|b", 22], ["abc\nd\x1b", 333]]).as_text(form)
    lines = [line for line in text.splitlines() if re.search(r"\d", line.replace("x1b", ""))]
    assert len({cell_len(line) for line in lines}) == 1
    assert "\x1b" not in text
    right = {"markdown": "| --: |", "latex": "{lr}"}[form]
    assert right in text


def test_fields_that_no_record_has_are_left_out() -> None:
    records = [{"a": 1, "metrics": {"x": 0.5}}, {"a": 2, "b": None, "metrics": {}}]
    table = table_of(records, {"A": "a", "B": "b", "C": "c", "X": "metrics/x", "Y": "metrics/y"})
    assert (table.columns, table.rows) == (["A", "X"], [[1, 0.5], [2, None]])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_takes_it(tmp_path: Path) -> None:
    rows = [[name, 1.5] for name in NAMES if name != "漢字"]
    table = WrittenTable(["name", "n"], rows).as_text(TableForm.latex)
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{table}\n\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("race") / "my_race"
    arguments = ["rosenbrock", "--optimizers", "sgd,adam", "--lr", "1e-4:1e-2:2", "--steps", "20", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch:  # nobody looks at its figures
        patch.setattr("dlkit.sweep.figures.save_figure", lambda figure, target: target.write_text("<svg></svg>"))
        assert run(["compare-optimizers", *arguments, "-q"]) == 0
    return folder


@pytest.mark.parametrize("form", list(TableForm))
def test_a_race(here: Any, undrawn: None, race: Path, form: TableForm) -> None:
    arguments = ("compare-optimizers", "--from", str(race), "--target", "loss=1e9")
    records = [record for record in here(*arguments).records if record["kind"] == "optimizer"]
    result = here(*arguments, "--table", form.value)
    assert result.code == 0
    ((head, *rows),) = READERS[form](result.out)
    assert head == [
        "optimizer", "lr", "loss", "seeds", "decades", "diverged", "runs", "steps to loss=1e+09",
        "seconds to loss=1e+09",
    ]  # fmt: skip
    for row, record in zip(rows, records, strict=True):
        assert row[0] == record["optimizer"]
        fields = ("lr", "mean", "seeds", "basin_decades", "diverged", "runs", "steps_to_target")
        assert [float(text) for text in row[1:-1]] == [record[field] for field in fields]


@pytest.mark.parametrize("form", list(TableForm))
def test_an_evaluation(here: Any, trained: Path, form: TableForm) -> None:
    record, other = here("eval", str(trained), "--ood", "noise").records
    measures, classes, scores = READERS[form](here("eval", str(trained), "--ood", "noise", "--table", form.value).out)
    assert measures[0] == ["run", "step", "data", "split", "n", "loss", "accuracy", "ece"]
    assert measures[1][0] == str(trained)
    assert [float(text) for text in measures[1][5:]] == list(record["metrics"].values())
    expected = [[row[key] for key in ("n", "precision", "recall", "f1")] for row in record["per_class"]]
    assert [[float(text) for text in row[1:]] for row in classes[1:]] == expected
    assert [row[2] for row in scores] == ["score", "msp", "max_logit", "energy", "entropy"]
    found = {
        f"{row[2]}/{name}": float(text) for row in scores[1:] for name, text in zip(scores[0][3:], row[3:], strict=True)
    }
    assert found == other["metrics"]


@pytest.mark.parametrize("form", list(TableForm))
def test_runs(here: Any, trained: Path, race: Path, form: TableForm) -> None:
    folders = (str(trained), str(race))
    records = here("runs", "list", *folders).records
    ((head, *rows),) = READERS[form](here("runs", *folders, "--table", form.value).out)
    assert [row[head.index("run")] for row in rows] == [record["run"] for record in records]
    for name, value in records[0]["metrics"].items():
        assert float(rows[0][head.index(name)]) == value
    parts = READERS[form](here("runs", "diff", *[str(trained)] * 2, "--table", form.value).out)
    assert [row[0] for row in parts[0]] == ["metrics", *records[0]["metrics"]]


@pytest.mark.parametrize("form", list(TableForm))
def test_a_review(here: Any, form: TableForm) -> None:
    claims = here("review", "list").records
    ((head, *rows),) = READERS[form](here("review", "list", "--table", form.value).out)
    none = {"markdown": "-", "latex": "\N{EN DASH}"}[form]
    assert rows == [
        [none if claim[name] is None else " ".join(claim[name].split()) for name in head] for claim in claims
    ]
    *records, _ = here("review", "run", "softmax-sigmoid").records
    ((head, *rows),) = READERS[form](here("review", "run", "softmax-sigmoid", "--table", form.value).out)
    assert [[row[1], row[2], float(row[3]), float(row[4])] for row in rows] == [
        [record[name] for name in ("claim", "verdict", "deviation", "tolerance")] for record in records
    ]


def test_one_form_at_a_time(here: Any, trained: Path) -> None:
    for option in ("--json", "-q"):
        result = here("eval", str(trained), "--table", "latex", option)
        assert (result.code, result.out) == (2, "")
        name = "--quiet" if option == "-q" else option
        assert result.err.splitlines()[0] == f"error: --table latex and {name} exclude each other"
    result = here("runs", "--table", "html")
    assert result.code == 2 and "'html'" in result.err
