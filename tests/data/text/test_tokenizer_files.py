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
    "a[SEP]b  <|endoftext|>\n[sep] <|ENDOFTEXT|>",
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
    for text in NASTY:
        expected = theirs(text, add_special_tokens=False)["input_ids"]
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
        ({"split_special_tokens": True}, "split_special_tokens = True"),
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
        with pytest.raises(DlkitError, match=r"line 3 of merges\.txt is not a pair: 'th'"):
            tokenizer_files.tokenizer_from_directory(folder)


ZOO, TOOL = len(WORDS), len(WORDS) + 1
FLAGS = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}


def of(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, **FLAGS, **flags}


@pytest.mark.parametrize(
    ("config", "files"),
    [
        ({}, {"added_tokens": {"zoo": ZOO, "<tool>": TOOL}}),
        ({"additional_special_tokens": ["<tool>"]}, {"added_tokens": {"zoo": ZOO, "<tool>": TOOL}}),
        ({"added_tokens_decoder": {ZOO: of("zoo", normalized=True), TOOL: of("<tool>", special=True)}}, {}),
        ({"added_tokens_decoder": {ZOO: of("zoo", single_word=True), TOOL: of("<tool>", lstrip=True)}}, {}),
        ({"added_tokens_decoder": {ZOO: of("zoo", rstrip=True)}}, {"added_tokens": {"<tool>": ZOO}}),
        ({"unk_token": "the"}, {}),
        ({"unk_token": "[UNK]"}, {"special_tokens_map": {"unk_token": of("the"), "mask_token": "cat"}}),
    ],
)
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json", "both"])
def test_tokens_beside_the_vocabulary_are_read_as_transformers_reads_them(
    tmp_path: Path, form: str, config: dict[str, Any], files: dict[str, Any]
) -> None:
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    if form != "vocab.txt":
        engine = tokenizer_files.tokenizer_from_directory(tmp_path).engine
        if form == "both":  # in tokenizer.json too, with other flags
            engine.add_tokens([tokenizer_files.AddedToken("zoo", normalized=False, lstrip=True)])
        engine.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "vocab.txt").unlink()
    for name, content in {"tokenizer_config": {"tokenizer_class": "BertTokenizer"} | config, **files}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = tokenizer_files.tokenizer_from_directory(tmp_path)
    for text in ("the zoo cat ZOO zoos", "a <tool> b<tool>c  <TOOL>", " zoo  zoo", "\u00e7 Q the"):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode([text]) == [expected], text
        assert ours.decode(expected) == theirs.decode(expected, clean_up_tokenization_spaces=False)


def test_a_vocabulary_without_a_token_for_the_unknown_says_so(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    ours = tokenizer_files.tokenizer_from_directory(tmp_path)
    assert ours.encode(["a b"]) == [[0, 1]]
    with pytest.raises(DlkitError, match=r"cannot encode the text: WordPiece error: Missing \[UNK\]"):
        ours.encode(["a c"])
    with pytest.raises(DlkitError, match=r"cannot encode the text: WordPiece error: Missing \[UNK\]"):
        list(ours.encode_pieces(iter(["a c"])))


def test_bytes_that_stand_for_letters_are_decoded_one_by_one_as_all_at_once(tmp_path: Path) -> None:
    """As in SentencePiece with byte fallback: a letter outside the vocabulary is a token for each of its bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abc"]
    model = models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    engine = Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    engine.save(str(tmp_path / "tokenizer.json"))
    ours = tokenizer_files.tokenizer_from_directory(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert_same(ours, theirs)
    for text in ("a \N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY} b", "中国" * 9, "é" * 30):
        (got,) = ours.encode([text])
        for cut in (0, 3, 8):
            decoder = IncrementalDecoder(ours, got[:cut])
            whole = b"".join(map(decoder.push, got[cut:])) + decoder.finish()
            if not cut:
                assert whole.decode() == theirs.decode(got)
    decoder = IncrementalDecoder(ours, [])
    broken = [pieces.index(f"<0x{byte:02X}>") for byte in (0xC3, 0xA9, *[0xFF] * 20)]
    text = (b"".join(map(decoder.push, broken)) + decoder.finish()).decode()
    assert text == "é" + "\ufffd" * 20
