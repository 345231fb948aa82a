"""Recipes drawn from the schema: valid, with one extreme value, or with damaged text."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import yaml
from extremes import pick

from dlkit import recipe
from dlkit.catalog import SECTIONS

# What needs no download and trains a step in no time, by task.
DATA = {
    "image-classification": ("digits", "images", "imagenet"),
    "tabular-classification": ("csv", "jsonl", "parquet"),
    "tabular-regression": ("csv", "jsonl", "parquet"),
    "causal-lm": ("text", "repeats"),
    "masked-lm": ("text",),
    "text-classification": ("texts",),
}
MODELS = {
    "image-classification": ("mlp", "cnn", "resnet", "resnet20", "plain20", "fast_cnn", "convnext"),
    "tabular-classification": ("mlp",),
    "tabular-regression": ("mlp",),
    "causal-lm": ("gpt",),
    "masked-lm": ("bert", "bert_tiny"),
    "text-classification": ("bert", "bert_tiny"),
}
PLACES = {
    "images": ("pictures", "split"), "imagenet": ("split", "shards"), "csv": ("rows.csv", "held.csv"),
    "jsonl": ("rows.jsonl",), "parquet": ("rows.parquet",), "text": ("text.txt", "corpus"),
    "texts": ("texts.csv",),
}  # fmt: skip
# Keys whose schema allows what would take long, and the values to draw from instead.
SMALL: dict[str, tuple[Any, ...]] = {
    "characters": (200, 3000), "length": (64, 128), "shortest": (2, 12), "longest": (12, 24), "size": (8, 12),
    "resize": (8, 16), "workers": (0,), "context": (8, 16, 32), "layers": (1, 2), "width": (8, 16), "heads": (1, 2),
    "depths": ([1], [1, 1]), "widths": ([4], [4, 8]), "channels": ([4], [4, 8]), "hidden": ([], [4], [8, 4]),
    "epochs": (1,), "steps": (1, 2, 3), "vocab_size": (256, 300), "compile": ("off",), "precision": ("fp32", "auto"),
    "patch": (1, 2), "kernel_size": (1, 3), "expansion": (1, 2), "batch_size": (1, 7, 32), "text": ("text",),
    "label": ("label",), "columns": (["a"], ["a", "b"]), "path": (), "weights": (None,), "cache": (None,),
    "tensorboard": (False,), "pair": (None,),
}  # fmt: skip
MODES = ("valid", "valid", "extreme", "extreme", "damaged")


def value(random: Random, key: str, schema: dict[str, Any]) -> Any:
    """Something that the schema of a key allows."""
    if key in SMALL and not (key == "hidden" and schema.get("type") != "array"):
        return random.choice(SMALL[key]) if SMALL[key] else schema.get("default")
    if "anyOf" in schema:
        return value(random, "", random.choice(schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return random.choice(schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if kind == "boolean":
        return random.random() < 0.5
    if kind == "integer":
        return schema.get("minimum", 0) + random.choice((0, 1, 2, 5))
    if kind == "number":
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return min(low + random.choice((1e-4, 0.01, 0.1, 0.5)), schema.get("maximum", 1e38))
    if kind == "array":
        items = schema.get("prefixItems") or [schema["items"]] * random.choice((0, 1, 2))
        return [value(random, "", item) for item in items]
    return random.choice(schema["examples"]) if schema.get("examples") else None


def section(random: Random, name: str, component: str, share: float) -> dict[str, Any]:
    """A section of a recipe with some of its keys."""
    properties = recipe.schema()["$defs"][f"{name}.{component}" if component else name]["properties"]
    required = recipe.schema()["$defs"][f"{name}.{component}" if component else name]["required"]
    keys = [key for key in properties if key != "name" and (key in required or random.random() < share)]
    drawn = {key: value(random, key, properties[key]) for key in keys}
    drawn = {key: item for key, item in drawn.items() if item is not None}
    return {"name": component, **drawn} if component else drawn


def valid(random: Random) -> dict[str, Any]:
    """A recipe that the schema allows, of small things."""
    task = random.choice(list(DATA))
    data, model = random.choice(DATA[task]), random.choice(MODELS[task])
    share = random.choice((0.0, 0.2, 0.5))
    drawn: dict[str, Any] = {"task": task, "data": section(random, "data", data, share)}
    if data in PLACES:
        drawn["data"]["path"] = random.choice(PLACES[data])
    if data in ("text", "texts", "repeats"):
        drawn["data"]["context"] = random.choice((8, 16))
        kind = "byte" if task == "causal-lm" else "wordpiece"
        drawn["tokenizer"] = section(random, "tokenizer", random.choice((kind, "auto", "bpe")), 1)
    if data == "repeats":
        drawn["data"]["characters"] = 3000
    if data == "imagenet":
        drawn["data"] |= {"size": 8, "workers": 0}
    drawn["model"] = section(random, "model", model, share)
    if model in ("gpt", "bert", "resnet", "convnext"):  # their defaults are large
        properties = recipe.schema()["$defs"][f"model.{model}"]["properties"]
        for key in ("layers", "width", "heads", "depths", "widths"):
            if key in properties:
                drawn["model"].setdefault(key, SMALL[key][0])
    for name, odds in (("loss", 0.3), ("schedule", 0.5)):
        if random.random() < odds:
            drawn[name] = section(random, name, random.choice(list(SECTIONS[name])), share)
    drawn["optimizer"] = section(random, "optimizer", random.choice(list(SECTIONS["optimizer"])), share)
    drawn["train"] = section(random, "train", "", share / 2)
    drawn["train"].pop("steps", None)
    drawn["train"] |= {"epochs": None, "steps": random.choice((1, 2, 3)), "compile": "off"}
    drawn["train"] = {key: item for key, item in drawn["train"].items() if item is not None}
    return drawn


def keys_of(drawn: dict[str, Any]) -> list[tuple[str, ...]]:
    """Where a value can be changed: each section, each key in it, and keys that are not there yet."""
    found: list[tuple[str, ...]] = [(name,) for name in drawn]
    for name, inner in drawn.items():
        if isinstance(inner, dict):
            known = recipe.schema()["$defs"].get(f"{name}.{inner.get('name')}" if name != "train" else "train", {})
            found += 3 * [(name, key) for key in {**known.get("properties", {}), **inner}]
    return sorted(found)


def overrides(random: Random, drawn: dict[str, Any]) -> list[str]:
    """A `KEY=VALUE` or two with an extreme value, for the recipe's own keys for the most part."""
    chosen = [random.choice(keys_of(drawn)) for _ in range(random.choice((1, 1, 2)))]
    texts = [f"{'.'.join(key)}={pick(random)}" for key in chosen]
    if random.random() < 0.1:
        texts.append(random.choice(("", "=", "~", "~data", "a", "data", ".=1", "a.b.c=1", "~train.steps", "train={}")))
    return [text.replace("\0", "") for text in texts]


def text(random: Random, drawn: dict[str, Any], mode: str) -> bytes:
    """The recipe as a file; `damaged` text has a line, a byte or a value changed."""
    written = yaml.safe_dump(drawn, sort_keys=False, allow_unicode=True).encode()
    if mode != "damaged":
        return written
    lines = written.splitlines(keepends=True)
    spot = random.randrange(len(lines))
    how = random.randrange(9)
    if how == 0:
        lines.insert(spot, lines[random.randrange(len(lines))])
    elif how == 1:
        del lines[spot]
    elif how == 2:
        lines[spot] = random.choice((b"\t", b"  ", b"- ", b"? ", b"<<: ")) + lines[spot]
    elif how == 3:
        return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"%YAML 1.1\n---\n", b"---\n---\n", b"...\n")) + written
    elif how == 4:
        return written.replace(b"\n", random.choice((b"\r\n", b"\r", b"\x85", b"\0\n")))
    elif how == 5:
        return json.dumps(drawn, indent=random.choice((None, 1))).encode()
    elif how == 6:
        key, colon, _ = lines[spot].partition(b":")
        lines[spot] = key + (colon or b":") + b" " + pick(random).encode("utf-8", "surrogateescape") + b"\n"
    elif how == 7:
        return written[: random.randrange(len(written))]
    else:
        place = random.randrange(len(written))
        return written[:place] + bytes([random.randrange(256)]) + written[place + 1 :]
    return b"".join(lines)
