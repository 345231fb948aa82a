"""What the cases open: small runs, data sets, a race, archives and a Hugging Face directory, made once by dlkit itself.

`python subjects.py FOLDER` makes them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

WORDS = ["def", "class", "return", "the", "with", "statement", "import", "for", "in", "value", "none", "loop"]
GPT = ["model.layers=2", "model.heads=2", "model.width=16", "data.context=32", "data.batch_size=8"]
SHORT = ["train.precision=fp32", "train.compile=off"]
# A recipe for each kind of data, small enough that a step takes no time.
RECIPES = {
    "csv": "task: tabular-classification\ndata: {name: csv, path: rows.csv, label: label, validation: 0.2}\n"
    "model: {name: mlp, hidden: [4]}\noptimizer: {name: adamw}\ntrain: {epochs: 2}\n",
    "jsonl": "extends: csv.yaml\ndata: {name: jsonl, path: rows.jsonl, label: label}\n",
    "parquet": "extends: csv.yaml\ndata: {name: parquet, path: rows.parquet, label: label}\n",
    "images": "task: image-classification\ndata: {name: images, path: pictures, size: 8, batch_size: 8}\n"
    "model: {name: cnn, channels: [4]}\noptimizer: {name: momentum}\ntrain: {epochs: 2}\n",
    "streamed": "extends: images.yaml\ndata: {name: imagenet, path: split, size: 8, resize: 8, batch_size: 8,"
    " workers: 0}\n",
    "text": "task: causal-lm\ndata: {name: text, path: text.txt, context: 16, batch_size: 8}\ntokenizer: {name: byte}\n"
    "model: {name: gpt, layers: 1, heads: 2, width: 8}\noptimizer: {name: adamw}\ntrain: {steps: 2}\n",
    "masked": "extends: text.yaml\ntask: masked-lm\nmodel: {name: bert, layers: 1, heads: 2, width: 8}\n"
    "tokenizer: {name: wordpiece, vocab_size: 200}\n",
    "texts": "extends: masked.yaml\ntask: text-classification\n"
    "data: {name: texts, path: texts.csv, text: text, label: label, context: 16, batch_size: 8}\n",
    "shards": "extends: streamed.yaml\ndata: {name: imagenet, path: shards, size: 8, resize: 8, batch_size: 8,"
    " workers: 0}\n",
    "folder": "extends: text.yaml\ndata: {name: text, path: corpus, context: 16, batch_size: 8}\n",
    "pairs": "extends: texts.yaml\ndata: {name: texts, path: pairs.jsonl, text: one, pair: two, label: label,"
    " validation_path: pairs.parquet, context: 16, batch_size: 8}\n",
    "held": "extends: csv.yaml\ndata: {name: csv, path: rows.csv, test_path: held.csv, label: label}\n",
    "vocab": "extends: texts.yaml\nmodel: {name: bert, weights: vocab}\ntokenizer: {name: auto}\n",
    "weights": "extends: text.yaml\nmodel: {name: gpt, weights: hub}\ntokenizer: {name: auto}\n",
}

CLAIM = """\
section: My table
claim: A rate of 0.05 learns it, one of a millionth does not.
kind: arms
fixed: everything, before the first run
recipe: csv.yaml
arms:
  learning: {optimizer: {name: adam, lr: 0.05}}
  standing: {optimizer: {name: adam, lr: 1e-6}}
measure: val/accuracy
expect: learning > standing
smallest: 0.05
seeds: 2
"""


def dlkit(*arguments: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "dlkit", *arguments], cwd=folder, check=True, capture_output=True)


def files(folder: Path) -> None:
    """Data, as a person would have it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rows = [{"a": i % 7 + 0.5, "b": (i * 5) % 11, "label": ("yes", "no")[i % 7 > 3]} for i in range(40)]
    (folder / "rows.csv").write_text("a,b,label\n" + "".join(f"{r['a']},{r['b']},{r['label']}\n" for r in rows))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    text = " ".join(WORDS[(i * i + i // 3) % len(WORDS)] + (".\n" if i % 9 == 8 else "") for i in range(1200))
    (folder / "text.txt").write_text(text)
    (folder / "texts.csv").write_text(
        "text,label\n" + "".join(f"the {w} {i},{i % 2}\n" for i, w in enumerate(WORDS * 3))
    )
    (folder / "numbers.txt").write_text("0.5\n0.25\n0.25\n")
    (folder / "held.csv").write_text("label,b,a\n" + "".join(f"{r['label']},{r['b']},{r['a']}\n" for r in rows[:20]))
    (folder / "corpus").mkdir()
    for part in range(3):
        (folder / "corpus" / f"{part}.txt").write_text(text[part * 2000 : part * 2000 + 2000])
    pairs = [{"one": f"the {w}", "two": f"{w} {i}", "label": ("no", "yes")[i % 2]} for i, w in enumerate(WORDS * 3)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    pq.write_table(pa.Table.from_pylist(pairs[:12]), folder / "pairs.parquet")
    random = np.random.default_rng(0)
    for root, count in (("pictures", 8), ("split/train", 6), ("split/val", 2)):
        for name in ("cat", "dog"):
            (folder / root / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (10, 9 + i % 3, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / root / name / f"{i}.{('png', 'jpg')[i % 2]}")
    (folder / "shards").mkdir()
    info = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    for part in ("train", "val"):
        found = sorted((folder / "split" / part).rglob("*.*"))
        images = [{"bytes": path.read_bytes(), "path": path.name} for path in found]
        shard = pa.table({"image": images, "label": [int(path.parent.name == "dog") for path in found]})
        shard = shard.replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
        name = {"train": "train", "val": "validation"}[part]
        pq.write_table(shard, folder / "shards" / f"{name}-00000-of-00001.parquet", row_group_size=4)
    (folder / "claim.yaml").write_text(CLAIM)
    for name, recipe in RECIPES.items():
        (folder / f"{name}.yaml").write_text(recipe)
    (folder / "empty").touch()
    (folder / "empty-folder").mkdir()
    (folder / "loop").symlink_to("loop")


def tokenizers(folder: Path) -> None:
    """The other forms of a tokenizer: `vocab.txt` of a BERT, `vocab.json` and `merges.txt` of a GPT."""
    for name, source in (("vocab", "encoder"), ("merges", "hub")):
        shutil.copytree(folder / source, folder / name)
        model = json.loads((folder / name / "tokenizer.json").read_text())["model"]
        (folder / name / "tokenizer.json").unlink()
        if name == "vocab":
            words = sorted(model["vocab"], key=model["vocab"].__getitem__)
            (folder / name / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
            settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False}
        else:
            (folder / name / "vocab.json").write_text(json.dumps(model["vocab"]))
            (folder / name / "merges.txt").write_text("#version: 0.2\n")
            settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"}
        (folder / name / "tokenizer_config.json").write_text(json.dumps(settings))


def make(folder: Path) -> None:
    """All of them in `folder`, which is there and empty."""
    files(folder)
    validated = ["data.validation=0.1", "train.checkpoint_every=1 epoch"]
    dlkit("train", "digits-mlp", "train.epochs=2", *validated, *SHORT, "--run-dir", "run", folder=folder)
    dlkit("train", "text.yaml", *GPT, "train.steps=4", *SHORT, "--run-dir", "gpt", folder=folder)
    dlkit("train", "texts.yaml", *SHORT, "--run-dir", "bert", folder=folder)
    dlkit("train", "csv.yaml", *SHORT, "--run-dir", "table", folder=folder)
    dlkit("export", "gpt", "hub", folder=folder)
    dlkit("export", "bert", "encoder", folder=folder)
    tokenizers(folder)
    dlkit("compress", "numbers.txt", "--prequential", folder=folder)
    dlkit("compress", "numbers.txt", "--model", "gpt", "-o", "model.dlk", "--threads", "1", folder=folder)
    race = ["--optimizers", "sgd,adam", "--lr", "1e-2:1:3", "--seeds", "2", "--steps", "6", "--out", "race"]
    dlkit("compare-optimizers", "ravine", *race, folder=folder)
    dlkit("review", "run", "claim.yaml", "--out", "reviewed", folder=folder)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    make(Path(sys.argv[1]))
