"""Whatever a command shows on a terminal, it shows whole: at 40 columns, at 80 and at 120."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli.app import run

WIDE = 500
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.,:/e*+-]*\d%?(?![\w])|(?<![\w.])\d%?(?![\w.])")


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("race") / "race"
    arguments = ["rosenbrock", "--optimizers", "sgd,adam", "--lr", "1e-4:1e-2:2", "--steps", "20", "--out", str(folder)]
    with pytest.MonkeyPatch.context() as patch:  # nobody looks at its figures
        patch.setattr("dlkit.sweep.figures.save_figure", lambda figure, target: target.write_text("<svg></svg>"))
        assert run(["compare-optimizers", *arguments, "-q"]) == 0
    return folder


COMMANDS = {
    "eval": "eval RUN",
    "eval --ood": "eval RUN --ood noise",
    "runs": "runs RUN RACE",
    "runs diff": "runs diff RUN GPT",
    "compare-optimizers": "compare-optimizers --from RACE --target loss=1e9",
    "entropy stream": "entropy FILE --order 2 --codecs --code huffman",
    "entropy distributions": "entropy --p 0.123456789,0.4,0.476543211 --q 0.2,0.3,0.5 --code shannon",
    "entropy joint": "entropy --joint --p 0.2,0.8",
    "entropy --check-code": "entropy --p 0.4,0.4,0.2 --check-code A=0,B=1,C=00",
    "entropy --model": "entropy FILE --model GPT",
    "inspect-attention": "inspect-attention GPT text --stack --repeats 1",
    "inspect-attention one head": "inspect-attention GPT text --layers 0 --heads 1 --repeats 1",
    "inspect-attention --steps": "inspect-attention GPT --steps --repeats 1",
    "data": "data digits-mlp",
    "components": "components optimizer",
    "components one": "components resnet",
    "recipes": "recipes list",
    "download": "download --list",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_number_is_cut(
    shown: Any, undrawn: None, trained: Path, race: Path, gpt: Path, command: str, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat. the cat sat. " * 6)
    standing = {"RUN": trained, "RACE": race, "GPT": gpt, "FILE": tmp_path / "text.txt"}
    arguments = [str(standing.get(word, word)) for word in COMMANDS[command].split()]
    numbers = sorted(set(NUMBER.findall(shown(arguments, WIDE))))
    assert numbers
    for width in (40, 80, 120):
        text = shown(arguments, width)
        lost = [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", text)]
        assert not lost, (width, lost, text)
        assert all(len(line) <= width for line in text.splitlines()), text
