"""The labelled passages of Python's manual, beside the manual itself."""

from __future__ import annotations

from pydoc_data.topics import topics

from dlkit.data.text.passages import passages


def collapsed(text: str) -> str:
    return " ".join(text.split())


def test_passages_stand_in_their_topic_alone() -> None:
    found = passages()
    by_class = {
        "compound statements": "compound", "debugger": "debugger", "format strings": "formatstrings",
        "mappings": "typesmapping", "sequences": "typesseq", "special methods": "specialnames",
        "string methods": "string-methods", "types": "types",
    }  # fmt: skip
    assert found.classes == tuple(sorted(by_class))
    manual = {name: {collapsed(part) for part in topics[topic].split("\n\n")} for name, topic in by_class.items()}
    seen: set[str] = set()
    for examples in found.splits.values():
        for text, label in zip(examples.first, examples.targets, strict=True):
            assert [name for name, parts in manual.items() if text in parts] == [found.classes[label]]
            assert text not in seen  # in one split, once
            seen.add(text)
    sizes = [len(found.splits[split].first) for split in ("train", "val", "test")]
    assert all(abs(size / sum(sizes) - share) < 0.05 for size, share in zip(sizes, (0.7, 0.1, 0.2), strict=True))
    assert min(map(len, seen)) >= 60
