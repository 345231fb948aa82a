"""Small images, and folders of them, on the disk."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def save(file: Path, colour: object = (200, 100, 50), mode: str = "RGB", size: tuple[int, int] = (12, 8), **keys):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file, **keys)  # pyright: ignore[reportArgumentType]


def tree(root: Path, counts: dict[str, int]) -> Path:
    """Class folders of one-coloured images: the red of the i-th is i."""
    for place, (name, count) in enumerate(counts.items()):
        for i in range(count):
            save(root / name / f"{i:03}.png", (i, 10 * place, 0))
    return root
