"""A text of the user's own: one file, or the *.txt files of a folder."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

from dlkit import text_input
from dlkit.annotations import Rate
from dlkit.data.split_names import split_of_file
from dlkit.data.text.corpus import Corpus, Span, Text, character_start, make_corpus
from dlkit.errors import DlkitError, RequestError, shell_word


def plain_text(*, path: Path, validation: Rate = 0.1, test: Rate = 0.0) -> Corpus:
    """One text split into up to three parts: "train" from its start, then "val", then "test" to its end.

    A folder's files are joined in the order of their names, with a line break between them. Line ends stay as they are.
    The text is never read as a whole and may be larger than memory.

    Args:
        path: a UTF-8 file, or a folder with *.txt files.
        validation: share of the bytes for "val".
        test: share of the bytes for "test".

    Raises:
        DlkitError: there is nothing to read at `path`, a file is empty, or a split would be empty.
        RequestError: `validation` and `test` leave nothing for training.
    """
    if validation + test >= 1:
        raise RequestError(f"validation: {validation} and test: {test} leave nothing for training")
    source = Path(path)
    if source.is_dir():
        files = sorted(file for file in source.glob("*.txt") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise DlkitError(f"no *.txt files in {source}")
        if len({split_of_file(file) for file in files} - {None}) > 1:
            names = ", ".join(file.name for file in files[:5])
            raise DlkitError(
                f"{source}: {names} are splits, not one text", f"give one: data.path={shell_word(files[-1])}"
            )
    else:
        files = [source]
    spans: list[Span] = []
    for file in files:
        spans += [Span(b"\n", 0, 1), _span(file)] if spans else [_span(file)]
    whole = Text(tuple(spans))
    test_begin = whole.size - round(whole.size * test)
    begins = {"train": 0, "val": test_begin - round(whole.size * validation), "test": test_begin}
    wanted = ["train", *(["val"] if validation else []), *(["test"] if test else [])]
    cuts = [_cut(whole, begins[name]) for name in wanted] + [whole.size]
    splits = {name: _part(whole, a, b) for name, a, b in zip(wanted, cuts, cuts[1:], strict=False)}
    for name, part in splits.items():
        if not part.size:
            raise DlkitError(f"{source}: {whole.size} bytes are too few: none is left for {name!r}")
    return make_corpus("text", splits, path=str(source), files=len(files))


def _span(file: Path) -> Span:
    """The text of a file, without its byte-order mark."""
    try:
        with text_input.ordinary_file(file).open("rb") as opened:
            size, head = file.stat().st_size, opened.read(4)
    except OSError as error:
        raise DlkitError(f"cannot read {file}: {error.strerror}") from error
    if (encoding := text_input.detect_encoding(head)) != "UTF-8":
        raise DlkitError(f"{file} is {encoding}, not UTF-8", f"convert it: iconv -f {encoding} -t UTF-8")
    begin = len(BOM_UTF8) if head.startswith(BOM_UTF8) else 0
    if size <= begin:
        raise DlkitError(f"the file is empty: {file}")
    return Span(file, begin, size)


def _part(text: Text, begin: int, end: int) -> Text:
    """Bytes `begin` to `end` of a text."""
    spans: list[Span] = []
    position = 0
    for span in text.spans:
        length = span.stop - span.start
        start, stop = max(begin - position, 0), min(end - position, length)
        if start < stop:
            spans.append(Span(span.source, span.start + start, span.start + stop))
        position += length
    return Text(tuple(spans))


def _cut(text: Text, position: int) -> int:
    """The last position at or before `position` at which a character begins."""
    before = max(0, position - 4)
    around = b"".join(block for span in _part(text, before, position + 1).spans for block in span.blocks())
    return before + character_start(around, position - before)
