"""Command lines drawn from Typer's own tree: every command, each of its options, values of all kinds."""

from __future__ import annotations

import enum
import functools
from pathlib import Path
from random import Random
from typing import Any

import typer
from extremes import COLLECTIONS, NUMBERS, PATHS, WORDS, pick

from dlkit.cli.app import app

# What an argument or an option is about, by command and name: values with which the command gets far.
RUNS = ("run", "gpt", "bert", "hub", "run/checkpoints/last", "gpt/checkpoints/last", "race", "-", "empty-folder",
        "merges", "vocab", "encoder", "table")  # fmt: skip
TEXTS = ("text.txt", "numbers.txt", "rows.csv", "empty", "-", "split/val/cat/0.png")
SETTINGS = ("data.batch_size=8", "data.path=rows.csv", "seed=3", "train.steps=2", "~train.epochs", "optimizer.lr=0.1")
GOOD: dict[str, tuple[str, ...]] = {
    "names": ("digits", "pydoc", "cifar10", "nope", "softmax-sigmoid", "claim.yaml"),
    "run": RUNS, "runs": RUNS, "run_or_recipe": RUNS, "other": RUNS,
    "file": TEXTS, "prompt": ("the", "def class", "-", ""), "text": ("the with statement", "a", "-"),
    "rows": ("rows.csv", "-"), "features": ("penultimate", "fc", "nope"),
    "source": ("hub", "encoder", "hf:hub", "run/checkpoints/last/model.safetensors", "text.txt"),
    "classes": ("text.txt", "nope"), "mean": ("0.5,0.5,0.5", "0"), "std": ("0.2,0.2,0.2", "0,0,0"),
    "inputs": ("split/val/cat/0.png", "pictures", "split/**/*.png", "-", "gone.png"),
    "recipe": ("csv.yaml", "images.yaml", "text.yaml", "masked.yaml", "texts.yaml", "ravine", "rosenbrock", "-"),
    "name": ("digits-mlp", "csv.yaml", "run", "-"), "overrides": SETTINGS, "target": ("out", "out.yaml", "loss=0.5"),
    "optimizers": ("sgd", "sgd,adam", "muon,rmsprop"), "lr": ("0.1", "1e-2:1:2", "0.5,1"), "tokens": ("3", "0:2"),
    "search": ("weight_decay=1e-5:0.1", "1-beta2=1e-4:0.1", "adam.eps=1e-9:1e-3"), "metric": ("loss", "test/loss"),
    "verdict": ("sgd<=adam", "adam<=sgd"), "start": ("1,1", "-1,2"), "ood": ("noise", "digits", "images:pictures"),
    "p": ("0.5,0.5", "0.4,0.4,0.2", "numbers.txt", "-"), "q": ("0.5,0.5", "0.3,0.3,0.4", "numbers.txt"),
    "base": ("2", "e", "10"), "check_code": ("A=0,B=1", "A=0,B=10,C=11"), "split": ("test", "val", "train"),
    "checkpoint": ("last", "best", "4"), "layers": ("0", "0-1"), "heads": ("0", "1"),
    "measure": ("entropy", "induction"),
    "folders": (".", "run", "race", "empty-folder", "nope"), "where": ("steps>1", "task=csv", "test/accuracy<2", "x"),
    "sort": ("step", "test/accuracy", "nope"), "section": ("Softmax", "nope"), "only": ("system", "loaders", "nope"),
    "folder": ("reviewed", "empty-folder", "run"), "report": ("out.html", "out.json"),
    "run_dir": ("new", "run", "race"),
    "pair": ("the", "-", ""), "symbols": ("bytes", "chars", "words", "lines"), "code": ("huffman", "shannon", "nope"),
    "lines": ("text.txt", "-"), "random_from": ("text.txt", "the with"), "compare": ("gpt", "bert"),
    "model": ("gpt", "hub", "bert", "run"), "device": ("cpu", "auto"), "views": ("one", "flip"), "stop": (".", "the"),
}  # fmt: skip
# Numbers that stand for work: more of it takes longer, and rightly so.
WORK = frozenset(["steps", "seeds", "trials", "n", "repeats", "retries", "timeout", "jobs", "threads", "streams"])
OUTPUTS = ("out", "out.svg", "out.html", "out.png", "out.gif", "out.npz", "out.dlk", "missing/out.svg", "rows.csv")


@functools.cache
def tree() -> dict[tuple[str, ...], list[Any]]:
    """Each command, as its words, with its parameters."""
    found: dict[tuple[str, ...], list[Any]] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if getattr(command, "commands", None):
            for name, inner in command.commands.items():
                walk(inner, (*words, name))
        else:
            found[words] = [parameter for parameter in command.params if parameter.name != "help"]

    walk(typer.main.get_command(app), ())
    return found


def value(random: Random, parameter: Any, wild: float) -> str:
    """A value for a parameter; with odds of `wild` an extreme one."""
    kind: Any = parameter.bare_type
    if random.random() < wild:
        number = kind in (int, float)
        return pick(random, *((NUMBERS, WORDS) if number else (NUMBERS, WORDS, COLLECTIONS, PATHS))).replace("\0", "")
    if parameter.name in GOOD:
        return random.choice(GOOD[parameter.name])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return random.choice(list(kind)).value
    if kind in (int, float):
        return str(max(parameter.min or 0, random.choice((1, 2, 3))))
    return random.choice(OUTPUTS if kind is Path else ("a", "1", "out"))


def draw(random: Random) -> list[str]:
    """A command line. Those that would work long are given little to do."""
    words, parameters = random.choice(sorted(tree().items()))
    wild = random.choice((0.0, 0.1, 0.4))
    line, options = list(words), list[str]()
    few = {"compare-optimizers": ["--steps", "4", "--seeds", "2", "--lr", "0.01:1:2", "--optimizers", "sgd,adam"],
           "generate": ["--tokens", "4"], "inspect-attention": ["--repeats", "1"], "download": ["--retries", "0"],
           "train": ["train.steps=2", "~train.epochs"]}  # fmt: skip
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            several = random.choice((0, 1, 2)) if parameter.nargs == -1 else 1
            if parameter.required or random.random() < 0.8:
                line += [value(random, parameter, wild) for _ in range(several)]
            continue
        if random.random() > 0.15:
            continue
        option = random.choice([*parameter.opts, *parameter.secondary_opts])
        options.append(option)
        if not parameter.is_flag:
            options.append(value(random, parameter, 0 if parameter.name in WORK else wild))
    if random.random() < 0.05:
        options.append(pick(random, WORDS, PATHS).replace("\0", ""))
    return [*line, *few.get(words[0], []), *options]
