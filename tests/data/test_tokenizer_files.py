"""Tokenizers of Hugging Face directories: the same tokens and the same text as transformers gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlkit.data.text import tokenizer, tokenizer_files
from dlkit.data.text.incremental_decoding import IncrementalDecoder
from dlkit.errors import DlkitError

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

NASTY = [
    "",
    " ",
    "The cat sat.",
    "SCHÖN müsste  die\tKatze\nzwei",
    "café cafe\u0301 \u212b",
    "中国 a中b",
    "don't ... !?",
    "[MASK] [SEP] <|endoftext|>",
    "a\u200bb\x00c\ufffd\x85\u2028d\ufeff",
    "\N{GRINNING FACE} \N{ARABIC LETTER MEEM}",
    "x" * 120,
    "İstanbul ǅ ß ﬁ",
]
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "schön",
    "schon",
    "müsste",
    "musste",
    "the",
    "cat",
    "sat",
    "中国",
]
WORDS += [*"abcdefghijklmnopqrstuvwxyzABCDESTé.中国!?'", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyzäöüßNé")]
WORDS = list(dict.fromkeys(WORDS))


def assert_same(ours: tokenizer.Tokenizer, theirs: Any) -> None:
    """A text that spells a special token is a text here: what transformers calls split_special_tokens."""
    for text in NASTY:
        expected = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        (got,) = ours.encode([text])
        assert got == expected, text
        expected_text = theirs.decode(expected, clean_up_tokenization_spaces=False)
        assert ours.decode(got) == expected_text
        decoder = IncrementalDecoder(ours, [])
        assert (b"".join(map(decoder.push, got)) + decoder.finish()).decode("utf-8", "replace") == expected_text


@pytest.mark.parametrize("lower", [None, True, False])
@pytest.mark.parametrize("accents", [None, True, False])
@pytest.mark.parametrize("chinese", [None, True, False])
def test_a_vocab_txt_is_read_as_its_config_says(
    tmp_path: Path, lower: bool | None, accents: bool | None, chinese: bool | None
) -> None:
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    given = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
    config = {key: value for key, value in given.items() if value is not None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "BertTokenizer"}))
    assert_same(
        tokenizer_files.tokenizer_from_directory(tmp_path), transformers.BertTokenizer.from_pretrained(tmp_path)
    )


@pytest.mark.parametrize("change", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_a_config_beside_a_tokenizer_json_holds_too(tmp_path: Path, change: dict[str, bool]) -> None:
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    transformers.BertTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "new")
    file = tmp_path / "new" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    assert_same(tokenizer_files.tokenizer_from_directory(tmp_path / "new"), theirs)


@pytest.mark.parametrize("fast", [False, True])
def test_the_words_of_gpt_1_end_where_its_tokens_say(tmp_path: Path, fast: bool) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz.,'"
    vocabulary = ["<unk>", *letters, *(f"{c}</w>" for c in letters), "th", "the</w>", "ca", "cat</w>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\nc a\nca t</w>\n")
    theirs = transformers.OpenAIGPTTokenizer.from_pretrained(tmp_path)
    if fast:
        theirs.save_pretrained(tmp_path / "fast")
    ours = tokenizer_files.tokenizer_from_directory(tmp_path / "fast" if fast else tmp_path)
    assert not ours.byte_level
    assert_same(ours, theirs)


@pytest.mark.parametrize("space", [None, False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_gpt_2_may_begin_with_a_space(tmp_path: Path, space: bool | None, fast: bool) -> None:
    learned = tokenizer.bpe([tokenizer.Text.of("the cat sat on the mat\n" * 9)], (tokenizer.END,), vocab_size=280)
    model = json.loads(learned.to_json())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"] | {tokenizer.END: learned.separator}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    config = {} if space is None else {"add_prefix_space": space}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}))
    theirs = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    if fast:
        theirs.save_pretrained(tmp_path / "fast")
    ours = tokenizer_files.tokenizer_from_directory(tmp_path / "fast" if fast else tmp_path)
    assert ours.byte_level
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"never_split": ["foo"]}, r"never_split = \['foo'\]"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize = False"),
        ({"do_lower_case": "yes"}, "do_lower_case = 'yes', which must be true, false or null"),
    ],
)
def test_what_is_not_done_is_named(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(DlkitError, match=message):
        tokenizer_files.tokenizer_from_directory(tmp_path)


def test_added_tokens_have_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    n = len(WORDS)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"katze": n, "hund": n + 1}))
    ours = tokenizer_files.tokenizer_from_directory(tmp_path)
    assert ours.size == n + 2
    assert ours.encode(["the hund katze"]) == [[WORDS.index("the"), n + 1, n]]
    (tmp_path / "added_tokens.json").write_text(json.dumps({"katze": n + 5}))
    with pytest.raises(DlkitError, match=f"'katze' has id {n + 5}, not {n}"):
        tokenizer_files.tokenizer_from_directory(tmp_path)


@pytest.mark.parametrize("fast", [False, True])
def test_files_of_windows_have_the_same_tokens(tmp_path: Path, fast: bool) -> None:
    learned = tokenizer.bpe([tokenizer.Text.of("the cat sat on the mat\n" * 9)], (tokenizer.END,), vocab_size=280)
    model = json.loads(learned.to_json())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"] | {tokenizer.END: learned.separator}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    theirs = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    if fast:
        theirs.save_pretrained(tmp_path / "fast")
    folder = tmp_path / "fast" if fast else tmp_path
    for file in filter(Path.is_file, folder.iterdir()):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert_same(tokenizer_files.tokenizer_from_directory(folder), theirs)
    if not fast:
        (folder / "merges.txt").write_text("#version: 0.2\nt h\nth\n")
        with pytest.raises(DlkitError, match=r"line 3 of merges\.txt is no pair: 'th'"):
            tokenizer_files.tokenizer_from_directory(folder)
