"""Tokenizers, and batches of texts by length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine

from dlkit.data.batch import Batch
from dlkit.data.text import padded_batches, token_ids, tokenizer_files, windows
from dlkit.data.text import tokenizer as module
from dlkit.data.text.corpus import Text
from dlkit.data.text.labelled import Examples, labelled_texts
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.tokenizer import CAUSAL, MASKED, Tokenizer
from dlkit.data.text.windows import TokenWindows
from dlkit.errors import DlkitError, RequestError

CPU = torch.device("cpu")
SAMPLE = Text.of("the cat sat on the mat, the dog sat on the log; unhappy cats and dogs!\n" * 40)
BYTE = module.byte([], CAUSAL)
BPE = module.bpe([SAMPLE], CAUSAL, vocab_size=300)
PIECES = module.wordpiece([SAMPLE], MASKED, vocab_size=120)


# ---------------------------------------------------------------- tokenizers


def test_a_byte_is_its_own_number() -> None:
    text = "aé\N{GRINNING FACE}\x00"
    assert BYTE.encode([text]) == [list(text.encode())]
    assert BYTE.size == 257
    assert BYTE.separator == 256


@settings(max_examples=200)
@given(st.text())
def test_byte_level_tokens_give_the_text_back(text: str) -> None:
    for tokenizer in (BYTE, BPE):
        (token_ids,) = tokenizer.encode([text])
        assert tokenizer.decode(token_ids) == text
        assert b"".join(map(tokenizer.bytes_of, token_ids)) == text.encode()
        assert tokenizer.separator not in token_ids


@pytest.mark.parametrize("tokenizer", [BYTE, BPE, PIECES])
def test_a_text_that_spells_a_special_token_has_it_as_in_transformers(tokenizer: Tokenizer) -> None:
    engine = Engine.from_str(tokenizer.to_json())
    theirs = pytest.importorskip("transformers").PreTrainedTokenizerFast(tokenizer_object=engine)
    text = "cat[MASK] [SEP]dog <|endoftext|>\n[mask] <|ENDOFTEXT|>"
    assert [theirs(text, add_special_tokens=False)["input_ids"]] == tokenizer.encode([text])


def test_a_long_text_is_encoded_in_order() -> None:
    text = "".join(f"line {i} of a text\n" for i in range(20_000))
    whole = np.concatenate(list(BPE.encode_text(Text.of(text))))
    assert BPE.decode(whole.tolist()) == text


def test_wordpiece_learns_nothing_from_what_it_reads_as_unknown() -> None:
    most = "sat" * 33 + "s"  # the longest word that is read
    assert PIECES.encode([f"{most}s"]) == [[PIECES.special("[UNK]")]] != PIECES.encode([most])
    longer = module.wordpiece([SAMPLE, Text.of(f"the {most}s cat {'dog' * 50_000} sat\n")], MASKED, vocab_size=120)
    assert set(longer.engine.get_vocab()) == set(PIECES.engine.get_vocab())


def test_training_is_deterministic_and_saved_whole(tmp_path: Path) -> None:
    script = (
        "from dlkit.data.text import tokenizer as t\nfrom dlkit.data.text.corpus import Text\n"
        "s = Text.of('the cat sat on the mat, the dog sat on the log; unhappy cats and dogs!\\n' * 40)\n"
        "print(t.bpe([s], t.CAUSAL, vocab_size=300).fingerprint)\n"
        "print(t.wordpiece([s], t.MASKED, vocab_size=120).fingerprint)"
    )
    reported = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert reported == [BPE.fingerprint, PIECES.fingerprint]
    assert module.tokenizer_from_json(PIECES.to_json()).fingerprint == PIECES.fingerprint
    (tmp_path / "tokenizer.json").write_text(BPE.to_json())
    assert tokenizer_files.tokenizer_from_directory(tmp_path).fingerprint == BPE.fingerprint


def test_vocabulary_files_of_other_tools(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = [*MASKED, "the", "cat", "##s", "sat", "é", "e"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    theirs = transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    ours = tokenizer_files.tokenizer_from_directory(tmp_path)
    for text in ("The cats sat", "thé dog"):
        assert ours.encode([text])[0] == theirs(text, add_special_tokens=False)["input_ids"]


def test_tokenizers_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="no tokenizer"):
        tokenizer_files.tokenizer_from_directory(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DlkitError, match="not a tokenizer"):
        tokenizer_files.tokenizer_from_directory(tmp_path)
    with pytest.raises(DlkitError, match=r"no token \[CLS\]"):
        BPE.require("[CLS]")


def test_a_large_text_is_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = token_ids.token_array(SAMPLE, BPE, tmp_path, BPE.separator)
    assert small[0] == BPE.separator
    assert small.dtype == np.uint16
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(token_ids, "IN_MEMORY", 10)
    mapped = token_ids.token_array(SAMPLE, BPE, tmp_path, BPE.separator)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, small)
    (file,) = tmp_path.glob("*.tokens")
    before = file.stat().st_mtime_ns
    token_ids.token_array(SAMPLE, BPE, tmp_path, BPE.separator)
    assert file.stat().st_mtime_ns == before
    monkeypatch.setattr(windows, "_ON_DEVICE", 0)
    a = list(map(Batch.tensors, TokenWindows(mapped, CPU, 0, True, batch_size=4, context=16).epoch(1)))
    monkeypatch.undo()
    b = list(map(Batch.tensors, TokenWindows(small, CPU, 0, True, batch_size=4, context=16).epoch(1)))
    assert all(torch.equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))


# ---------------------------------------------------------------- windows


# ---------------------------------------------------------------- texts by length


def lengthy(count: int, generator: np.random.Generator) -> Examples:
    """Texts whose lengths spread like those of film reviews: log-normal, a tail cut at the context."""
    lengths = np.minimum(np.exp(generator.normal(5.2, 0.7, count)), 512).astype(int)
    return Examples([" ".join(["cat"] * n) for n in lengths], None, np.arange(count) % 2)


def test_bucketing_halves_padding() -> None:
    examples = lengthy(1500, np.random.default_rng(0))
    data = SequenceBatches(examples, PIECES, CPU, 0, True, batch_size=16, context=512)
    lengths = data.lengths
    order = np.random.default_rng(1).permutation(len(lengths))
    groups = [lengths[order[i : i + 16]] for i in range(0, len(order), 16)]
    plain = 1 - lengths.sum() / sum(group.max() * len(group) for group in groups)
    assert data.padding() < plain / 4
    held = SequenceBatches(examples, PIECES, CPU, 0, False, batch_size=16, context=512)
    assert held.padding() < plain / 4


@pytest.mark.parametrize("training", [True, False])
def test_each_example_is_in_an_epoch_once(training: bool) -> None:
    examples = lengthy(101, np.random.default_rng(0))
    data = SequenceBatches(examples, PIECES, CPU, 0, training, batch_size=16, context=64)
    assert sorted(int(i) for batch in data.order(2) for i in batch) == list(range(101))
    assert len(data) == len(list(data.epoch(2))) == 7
    for a, b in zip(list(map(Batch.tensors, data.epoch(2)))[3:], map(Batch.tensors, data.epoch(2, 3)), strict=True):
        assert torch.equal(a[0], b[0])


def test_pairs_are_laid_out_as_berts() -> None:
    examples = Examples(["the cat", "dog"], ["sat on the mat", ""], np.array([1, 0]))
    data = SequenceBatches(examples, PIECES, CPU, 0, False, batch_size=2, context=32)
    batch, *_ = data.epoch(0)
    tokens_, targets, segments = batch.token_ids, batch.targets, batch.segment_ids
    assert segments is not None
    first, last, pad = (PIECES.require(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
    a, b = PIECES.encode(["the cat", "sat on the mat"])
    row = targets.tolist().index(1)
    wanted = [first, *a, last, *b, last]
    assert tokens_[row, : len(wanted)].tolist() == wanted
    assert (tokens_[row, len(wanted) :] == pad).all()
    assert segments[row].tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * (tokens_.shape[1] - len(wanted))
    assert batch.attention_mask.sum(1)[row] == len(wanted)
    assert batch.candidate_counts is batch.question_ids is batch.credit is None


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"),
    [(3, 4, 10, (3, 4)), (10, 3, 8, (5, 3)), (3, 10, 8, (3, 5)), (10, 10, 7, (3, 4)), (20, 0, 8, (8, 0))],
)
def test_the_longer_text_is_cut_first(first: int, second: int, room: int, kept: tuple[int, int]) -> None:
    assert padded_batches._shares(first, second, room) == kept


def test_what_is_cut_is_counted() -> None:
    examples = Examples(["cat " * 30, "cat"], None, np.array([0, 1]))
    encoded = padded_batches.encode(examples, PIECES, 12)
    assert encoded.cut == 20
    assert encoded.lost == pytest.approx(20 / (12 + 3 + 20))


def test_candidates_stay_together() -> None:
    examples = Examples(
        ["cat", "dog", "cat", "the cat sat", "dog"], ["a", "b", "c", "d", "e"], np.array([1, 2]), np.array([2, 3])
    )
    data = SequenceBatches(examples, PIECES, CPU, 0, False, batch_size=1, context=32)
    batches = [(len(batch), batch.candidate_counts, batch.targets) for batch in data.epoch(0)]
    assert batches == [(2, torch.tensor([2]), torch.tensor([1])), (3, torch.tensor([3]), torch.tensor([2]))]


def test_tables_of_texts(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b,c\n" + "".join(f"text {i},pair {i},{'yes' if i % 2 else 'no'}\n" for i in range(20)))
    data = labelled_texts(path=file, text="a", pair="b", label="c", test=0.2, validation=0.25)
    assert data.classes == ("no", "yes")
    assert {name: len(part.targets) for name, part in data.splits.items()} == {"train": 12, "val": 4, "test": 4}
    for part in data.splits.values():
        assert part.second is not None
        for a, b, target in zip(part.first, part.second, part.targets, strict=True):
            assert a.split()[1] == b.split()[1]
            assert target == int(a.split()[1]) % 2
    with pytest.raises(RequestError, match="no column 'x'"):
        labelled_texts(path=file, text="x", label="c")
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(RequestError, match="not a table"):
        labelled_texts(path=tmp_path / "t.txt", text="a", label="c")
    (tmp_path / "n.jsonl").write_text('{"a": "x", "c": 1}\n{"a": null, "c": 2}\n')
    with pytest.raises(DlkitError, match="a missing text in column 'a', line 2"):
        labelled_texts(path=tmp_path / "n.jsonl", text="a", label="c", test=0.0)
    with pytest.raises(RequestError, match="is not text"):
        labelled_texts(path=tmp_path / "n.jsonl", text="c", label="c", test=0.0)


def test_tokenizers_use_the_same_specials() -> None:
    assert isinstance(PIECES, Tokenizer)
    assert [PIECES.special(name) for name in MASKED] == [0, 1, 2, 3, 4]
