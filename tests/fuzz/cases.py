"""A case: files, a command line and what stands on standard input, all of it from a seed and a number."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import commands
from damage import damage
from extremes import NUMBERS, pick

import recipes

# Subject -> command lines that open it. Those under `SEALED` know what they wrote: they see damage, or it is harmless.
SEALED = {
    "run/checkpoints": (["eval", "run"], ["predict", "run", "split/val"],
                        ["predict", "run", "split/val", "--features", "penultimate", "--out", "out.npy"],
                        ["export", "run", "out", "--format", "torch-export"], ["eval", "run/checkpoints/last"],
                        ["train", "run", "--resume"],
                        ["eval", "run", "--checkpoint", "best", "--split", "val"], ["eval", "run", "--ood", "noise"]),
    "gpt/checkpoints": (["eval", "gpt"], ["generate", "gpt", "the", "--tokens", "4"], ["export", "gpt", "out"],
                        ["entropy", "numbers.txt", "--model", "gpt"], ["train", "gpt", "--resume"],
                        ["inspect-attention", "gpt", "the with"],
                        ["compress", "numbers.txt", "--model", "gpt", "-o", "new.dlk"]),
    "bert/checkpoints": (["eval", "bert"], ["predict", "bert", "--rows", "texts.csv"],
                         ["inspect-attention", "bert", "the with"], ["export", "bert", "out"]),
    "table/checkpoints": (["eval", "table"], ["predict", "table", "held.csv"],
                          ["export", "table", "out", "--format", "torch-export"],
                          ["predict", "table", "rows.jsonl", "--out", "out.csv"],
                          ["eval", "table", "data.path=held.csv"], ["train", "table", "--resume"]),
    "numbers.txt.dlk": (["decompress", "numbers.txt.dlk", "-o", "out"],),
    "model.dlk": (["decompress", "model.dlk", "--model", "gpt", "-o", "out"],),
}  # fmt: skip
OPEN = {
    "run": (*SEALED["run/checkpoints"], ["recipes", "check", "run"], ["train", "run", "--run-dir", "new"],
            ["train", "run", "--run-dir", "run", "--overwrite"], ["runs", "list", "."],
            ["runs", "diff", "run", "table"], ["runs", "plot", "run", "bert", "out.svg"],
            ["runs", "prune", ".", "--keep", "1", "--yes"]),
    "gpt": SEALED["gpt/checkpoints"],
    "race": (["compare-optimizers", "--from", "race"],
             ["compare-optimizers", "ravine", "--optimizers", "sgd,adam", "--lr", "1e-2:1:3", "--seeds", "2",
              "--steps", "6", "--out", "race", "--resume"]),
    "hub": (["generate", "hub", "the", "--tokens", "4"], ["entropy", "numbers.txt", "--model", "hub"],
            ["inspect-attention", "hub", "the with"], ["train", "weights.yaml", "--run-dir", "new"],
            ["compress", "numbers.txt", "--model", "hub", "-o", "new.dlk"], ["import", "hub", "--run-dir", "new"]),
    "merges": (["generate", "merges", "the", "--tokens", "4"], ["entropy", "numbers.txt", "--model", "merges"],
               ["inspect-attention", "merges", "the with"]),
    "vocab": (["inspect-attention", "vocab", "the with"], ["train", "vocab.yaml", "--run-dir", "new"],
              ["export", "vocab", "out"]),
    "encoder": (["inspect-attention", "encoder", "the with"], ["export", "encoder", "out"],
                ["import", "encoder", "--run-dir", "new"]),
    "table": (*SEALED["table/checkpoints"], ["eval", "table", "data.path=rows.csv", "--confusion", "out.svg"]),
    "held.csv": (["predict", "table", "held.csv"], ["predict", "table", "--rows", "held.csv", "--out", "out.parquet"],
                 ["eval", "table", "data.path=held.csv"], ["train", "held.yaml", "--run-dir", "new"]),
    "pairs.jsonl": (["train", "pairs.yaml", "--run-dir", "new"],),
    "pairs.parquet": (["train", "pairs.yaml", "--run-dir", "new"],),
    "claim.yaml": (["review", "run", "claim.yaml", "--out", "new", "--assert"], ["review", "show", "claim.yaml"]),
    "reviewed": (["review", "run", "claim.yaml", "--out", "reviewed", "--resume"], ["review", "figures", "reviewed"]),
    "corpus": (["train", "folder.yaml", "--run-dir", "new"],),
    "shards": (["train", "shards.yaml", "--run-dir", "new"],),
    "rows.csv": (["data", "csv.yaml"], ["predict", "table", "rows.csv"], ["train", "csv.yaml", "--run-dir", "new"],
                 ["entropy", "rows.csv", "--symbols", "lines"]),
    "rows.jsonl": (["data", "jsonl.yaml"], ["predict", "table", "rows.jsonl"],
                   ["train", "jsonl.yaml", "--run-dir", "new"],),
    "rows.parquet": (["data", "parquet.yaml"], ["predict", "table", "rows.parquet"],
                     ["train", "parquet.yaml", "--run-dir", "new"],),
    "text.txt": (["train", "text.yaml", "--run-dir", "new"], ["train", "masked.yaml", "--run-dir", "new"],
                 ["eval", "gpt"], ["entropy", "text.txt", "--model", "gpt", "--context", "8"]),
    "texts.csv": (["data", "texts.yaml"], ["predict", "bert", "texts.csv"],
                  ["train", "texts.yaml", "--run-dir", "new"], ["eval", "bert"]),
    "numbers.txt": (["entropy", "--p", "numbers.txt", "--code", "huffman"], ["entropy", "numbers.txt", "--order", "1"],
                    ["compress", "numbers.txt", "--prequential", "-o", "new.dlk"]),
    "pictures": (["data", "images.yaml", "--png", "out.png"], ["predict", "run", "pictures"],
                 ["train", "images.yaml", "--run-dir", "new"], ["eval", "run", "--ood", "images:pictures"]),
    "split": (["data", "streamed.yaml"], ["train", "streamed.yaml", "--run-dir", "new"],),
}  # fmt: skip
STDIN = (b"", b"run\n", b'{"run": "run"}\n', b'{"run": "gpt"}\n', b"the\nwith\n", b"0.5 0.5\n", b"3 a\n4 b\n",
         b"\xff\xfe\n", b"[" * 100_000, b'{"a":' * 50_000, b'{"run": ' + b"9" * 5000 + b"}\n", b"1e999\n",
         b'{"run": "a\\u0000b"}\n', b'{"run": "\\ud800"}\n', b"\xef\xbb\xbf0.5\n0.5\n", b"x" * 200_000)  # fmt: skip
# Where a command runs. `small files`: a disk that is full after 2,000 bytes; `full`: stdout is such a disk.
ENVIRONMENTS = ("narrow", "terminal", "no stdin", "no stdout", "no stderr", "full", "pipe", "little memory",
                "small files", "ascii")  # fmt: skip


@dataclass
class Case:
    """One case. `sealed` says that a result must be the one that the undamaged files have."""

    arguments: list[str]
    stdin: bytes
    note: str
    sealed: bool = False
    environment: str = "plain"


def make(kind: str, seed: int, number: int, subjects: Path, folder: Path) -> Case:
    """Fill `folder` with the files of a case, and say what is to be run in it."""
    random = Random(f"{kind} {seed} {number}")
    case = _draw(random, kind, subjects, folder)
    if not case.sealed and random.random() < 0.25:
        case.environment = random.choice(ENVIRONMENTS)
    return case


def copy(subjects: Path, folder: Path) -> None:
    """The subjects in `folder`; its runs read the data there, as theirs have absolute paths."""
    shutil.copytree(subjects, folder, symlinks=True)
    for recipe in folder.glob("*/recipe.yaml"):
        recipe.write_text(recipe.read_text().replace(f"{subjects}/", f"{folder}/"))


def _draw(random: Random, kind: str, subjects: Path, folder: Path) -> Case:
    copy(subjects, folder)
    if kind == "commands":
        line = commands.draw(random)
        stdin = random.choice(STDIN)
        return Case(line, stdin, f"on standard input {stdin[:40]!r}")
    if kind == "recipes":
        return _recipe(random, folder)
    sealed = random.random() < 0.4
    subject = random.choice(list(SEALED if sealed else OPEN))
    line = random.choice((SEALED if sealed else OPEN)[subject])
    done = damage(random, folder / subject)
    if random.random() < 0.2 and not sealed and (folder / subject).exists():
        try:
            done += "; " + damage(random, folder / subject)
        except (OSError, IndexError):  # of what the first has left
            done += "; nothing more"
    return Case(line, b"", f"{subject}: {done}", sealed)


def _recipe(random: Random, folder: Path) -> Case:
    drawn = recipes.valid(random)
    mode = random.choice(recipes.MODES)
    (folder / "drawn.yaml").write_bytes(written := recipes.text(random, drawn, mode))
    changes = recipes.overrides(random, drawn) if mode == "extreme" else []
    verb = random.choice((["recipes", "check"], ["recipes", "show"], ["train"], ["train"], ["train"]))
    line = [*verb, "drawn.yaml", *changes]
    if verb == ["train"]:
        line += ["--run-dir", "new"] if random.random() < 0.8 else []
        line += ["--seed", pick(random, NUMBERS)] if random.random() < 0.05 else []
    if random.random() < 0.1:
        return Case(["-" if word == "drawn.yaml" else word for word in line], written, "the recipe on standard input")
    return Case(line, b"", f"drawn.yaml, {mode}:\n{written.decode('utf-8', 'replace')}")


def clean(folder: Path) -> None:
    """Delete the files of a case, whatever their permissions."""
    for path, names, _ in os.walk(folder):
        for name in names:
            if not (Path(path) / name).is_symlink():
                (Path(path) / name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
