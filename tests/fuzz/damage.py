"""Damage to a file or a folder, as disks, editors, other programs and hasty hands do it; each returns what it did."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from extremes import pick

JSON_VALUES: tuple[Any, ...] = (None, True, -1, 0, 10**400, 1e308, "", "x", "../..", [], {}, [[]], {"a": []}, "\ud800")


def flip(random: Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)
    return "a bit flipped"


def scramble(random: Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    place = random.randrange(len(data) + 1)
    data[place : place + random.choice((1, 4, 64))] = random.randbytes(random.choice((1, 4, 64)))
    path.write_bytes(data)
    return f"random bytes at {place}"


def blank(random: Random, path: Path) -> str:
    """As a bad sector is read."""
    data = bytearray(path.read_bytes())
    place = random.randrange(max(1, len(data) - 512))
    data[place : place + 512] = bytes(len(data[place : place + 512]))
    path.write_bytes(data)
    return f"512 bytes of zeros at {place}"


def truncate(random: Random, path: Path) -> str:
    size = path.stat().st_size
    left = random.choice((0, 1, size // 2, max(0, size - 1), random.randrange(size + 1)))
    os.truncate(path, left)
    return f"cut to {left} bytes"


def lengthen(random: Random, path: Path) -> str:
    tail = random.choice((b"\0", b"\n", b"}", b"\xff", path.read_bytes(), b"\0" * 100_000))
    path.write_bytes(path.read_bytes() + tail)
    return f"{len(tail)} bytes more"


def delete(random: Random, path: Path) -> str:
    path.unlink()
    return "deleted"


def foreign(random: Random, path: Path) -> str:
    contents = (
        b"",
        b"PK\3\4",
        b"\x89PNG\r\n\x1a\n",
        b"{}",
        b"[]",
        b"null\n",
        b"\xff\xfe\0",
        b"[" * 5000,
        b"<html>",
        b"1",
    )
    path.write_bytes(random.choice(contents))
    return "another kind of file"


def link(random: Random, path: Path) -> str:
    target = random.choice((path.name, "/dev/null", "nothing", "..", "/", "../" * 8 + "etc/hostname"))
    path.unlink()
    path.symlink_to(target)
    return f"a link to {target}"


def folder(random: Random, path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "a folder in its place"


def forbid(random: Random, path: Path) -> str:
    path.chmod(0)
    return "no permissions"


def pipe(random: Random, path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a named pipe in its place"


def lines(random: Random, path: Path) -> str:
    """For text: a line doubled, lost, moved, emptied or with a strange value in it."""
    found = path.read_bytes().splitlines(keepends=True) or [b""]
    spot = random.randrange(len(found))
    how = random.choice(("doubled", "lost", "moved", "emptied", "changed", "BOM", "CRLF"))
    if how == "doubled":
        found.insert(spot, found[spot])
    elif how == "lost":
        del found[spot]
    elif how == "moved":
        found.insert(0, found.pop(spot))
    elif how == "emptied":
        found[spot] = b"\n"
    elif how == "changed":
        parts = found[spot].rstrip(b"\n").split(b",")
        parts[random.randrange(len(parts))] = pick(random).encode("utf-8", "surrogateescape")
        found[spot] = b",".join(parts) + b"\n"
    elif how == "BOM":
        found.insert(0, b"\xef\xbb\xbf")
    else:
        found = [line.replace(b"\n", b"\r\n") for line in found]
    path.write_bytes(b"".join(found))
    return f"line {spot} {how}"


def values(random: Random, path: Path) -> str:
    """For JSON: a value of another type, a key lost or renamed."""
    try:
        root: Any = json.loads(path.read_text())
    except ValueError:
        return lines(random, path)
    spots: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            spots.append((value, key))
            walk(value[key])

    walk(root)
    if not spots:
        return lines(random, path)
    holder, key = random.choice(spots)
    how = random.choice(("changed", "changed", "lost", "renamed"))
    if how == "changed":
        holder[key] = random.choice(JSON_VALUES)
    elif how == "lost" or isinstance(holder, list):
        del holder[key]
    else:
        holder[f"{key}x"] = holder.pop(key)
    path.write_text(json.dumps(root))
    return f"the value of {key!r} {how}"


def rename(random: Random, path: Path) -> str:
    name = random.choice((f"{path.name}.bak", "\udcff", "a\nb", f"{path.stem}2{path.suffix}", path.name.upper()))
    path.rename(path.with_name(name))
    return f"renamed to {name!r}"


def double(random: Random, path: Path) -> str:
    """A copy of the file or of its folder beside it."""
    source = random.choice((path, path.parent))
    name = random.choice((f"{source.name}.bak", f"{source.name} (copy)", f"{source.name}~", "step-00000099", "zzz"))
    target = source.with_name(name)
    if not target.exists():
        shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy2(source, target)
    return f"a copy called {name!r}"


def drop_folder(random: Random, path: Path) -> str:
    shutil.rmtree(path.parent)
    return "its folder deleted"


EVERY: tuple[Callable[[Random, Path], str], ...] = (
    flip, flip, scramble, truncate, lengthen, delete, foreign, link, folder, forbid, pipe, rename, double, drop_folder,
)  # fmt: skip
TEXT = (*EVERY, lines, lines, lines, lines)
JSON = (*EVERY, values, values, values, values, values)
KINDS = {
    ".safetensors": (*EVERY, blank, blank, blank, blank),
    ".json": JSON,
    ".jsonl": TEXT,
    ".yaml": TEXT,
    ".csv": TEXT,
    ".txt": TEXT,
}


def damage(random: Random, root: Path) -> str:
    """Damage one file at or below `root`; says which and how. The root itself stays, whatever it is."""
    files = sorted(path for path in (root.rglob("*") if root.is_dir() else [root]) if path.is_file())
    path = random.choice(files)
    how = random.choice(KINDS.get(path.suffix, EVERY))
    if path.parent in (root.parent, root) and how in (drop_folder, double):
        how = truncate
    if path == root and how is pipe:  # which a person may well give: what comes through it is awaited
        how = delete
    return f"{path.name}: {how(random, path)}"
