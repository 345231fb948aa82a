"""Text to token ids and back: bytes, byte-level BPE and WordPiece, with the `tokenizers` library.

byte       a token is a byte
bpe        byte-level byte-pair encoding: repeatedly merge the most frequent pair of neighbours into a token
           It can encode any text.
wordpiece  lower-cased words split into the longest known pieces, as in BERT
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Engine

from dlkit.annotations import MOST_TOKENS, Ge, Le
from dlkit.data.text.corpus import Text
from dlkit.errors import DlkitError
from dlkit.progress import stage

END = "<|endoftext|>"
CAUSAL, MASKED = (END,), ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
_PIECES_AT_ONCE = 256
_LETTERS = 1000  # characters in the alphabet of a WordPiece vocabulary, at most
_TOO_LONG = re.compile(r"\w{101,}")  # words of over 100 characters, which WordPiece encodes as [UNK] anyway


def _byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_CHARACTER_OF = _byte_characters()
_SURROGATES = re.compile("([\udc80-\udcff]+)")
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}


class Tokenizer:
    """Encodes text as token ids and decodes them.

    Args:
        engine: a tokenizer of the `tokenizers` library; special tokens are never added automatically. A text that
            spells one has it, as in `transformers`.
    """

    def __init__(self, engine: Engine) -> None:
        engine.no_truncation()
        engine.no_padding()
        engine.encode_special_tokens = False
        self.engine = engine
        token_ids = sorted(engine.get_vocab().values())
        self.size = token_ids[-1] + 1 if token_ids else 0
        self.known = np.isin(np.arange(self.size), token_ids)  # (size,): a vocabulary may have gaps
        self.byte_level = isinstance(engine.decoder, decoders.ByteLevel)

    def special(self, *names: str) -> int | None:
        """The id of the first of these special tokens that exists; None for none."""
        return next((token_id for name in names if (token_id := self.engine.token_to_id(name)) is not None), None)

    @functools.cached_property
    def separator(self) -> int | None:
        """The id of the token before each text of a causal model; None for none."""
        return self.special(END, "[SEP]", "</s>")

    def require(self, name: str) -> int:
        """The id of a special token of BERT, or of what RoBERTa has for it. Raises DlkitError if there is neither."""
        token_id = self.special(name, _ROBERTA.get(name, name))
        if token_id is None:
            raise DlkitError(f"the tokenizer has no token {name}", "a BERT needs [PAD], [CLS], [SEP] and [MASK]")
        return token_id

    @property
    def separators(self) -> int:
        """How many separators stand between the texts of a pair: RoBERTa has two (Liu et al., arXiv:1907.11692)."""
        return 2 if self.special("[SEP]") is None and self.special(_ROBERTA["[SEP]"]) is not None else 1

    @functools.cached_property
    def fingerprint(self) -> str:
        """The sha256 of everything that determines its behaviour."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The content of a tokenizer.json."""
        return self.engine.to_str()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The token ids of each text, without special tokens. Uses all cores."""
        return [encoding.ids for encoding in self.encodings(texts)]

    def encodings(self, texts: list[str]) -> list[Encoding]:
        """The library's encodings, with offsets into the text, without special tokens."""
        return self._encoded(self.engine.encode_batch, texts)

    def encode_text(self, text: Text) -> Iterator[NDArray[np.int64]]:
        """The token ids of a long text, in chunks. Uses all cores."""
        return self.encode_pieces(text.pieces())

    def encode_pieces(self, pieces: Iterator[str]) -> Iterator[NDArray[np.int64]]:
        """The token ids of a text given in pieces, none of which ends inside a word; in chunks."""
        while batch := list(itertools.islice(pieces, _PIECES_AT_ONCE)):
            encodings = self._encoded(self.engine.encode_batch_fast, batch)
            yield np.concatenate([np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings])

    def encode_bytes(self, pieces: Iterable[bytes], changed: Callable[[], None]) -> Iterator[NDArray[np.int64]]:
        """The token ids of any bytes, in chunks: UTF-8 as text, every other byte as a token of its own.

        Args:
            pieces: the bytes, in pieces; the tokenizer must be byte-level.
            changed: called before a chunk whose tokens do not spell exactly its bytes.

        Raises:
            DlkitError: the vocabulary lacks a byte that it needs.
        """
        pieces = iter(pieces)
        while batch := list(itertools.islice(pieces, _PIECES_AT_ONCE // 8)):
            # a byte that is not UTF-8 becomes a lone surrogate, which no text has; split: text, surrogates, text ...
            parts = [_SURROGATES.split(piece.decode("utf-8", "surrogateescape")) for piece in batch]
            texts = iter(self._encoded(self.engine.encode_batch_fast, [t for part in parts for t in part[::2]]))
            runs = [
                self._single_bytes(run) if i % 2 else next(texts).ids for part in parts for i, run in enumerate(part)
            ]
            if b"".join(self._bytes[token_id] for run in runs for token_id in run) != b"".join(batch):
                changed()
            yield np.concatenate([np.asarray(run, dtype=np.int64) for run in runs])

    def _encoded(self, encode: Callable[..., list[Encoding]], texts: list[str]) -> list[Encoding]:
        """Encode without special tokens. Raises DlkitError where the vocabulary has no token for what is unknown."""
        try:
            return encode(texts, add_special_tokens=False)
        except Exception as error:  # the library raises plain Exception
            hint = "its vocabulary has no token for what it does not know: take one that has"
            raise DlkitError(f"the tokenizer cannot encode the text: {error}", hint) from error

    def _single_bytes(self, surrogates: str) -> list[int]:
        """The token ids of bytes that are not UTF-8."""
        token_ids = [self.engine.token_to_id(_CHARACTER_OF[ord(c) - 0xDC00]) for c in surrogates]
        if None in token_ids:
            raise DlkitError("the vocabulary lacks a token for some bytes", "take a tokenizer with all 256")
        return [token_id for token_id in token_ids if token_id is not None]

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of token ids; bytes that are not UTF-8 become U+FFFD."""
        if self.byte_level:
            return b"".join(self.bytes_of(token_id) for token_id in token_ids).decode("utf-8", "replace")
        return self.engine.decode(list(token_ids), skip_special_tokens=False)

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes of a token of a byte-level vocabulary."""
        return self._bytes[token_id]

    @functools.cached_property
    def _bytes(self) -> list[bytes]:
        added = {token_id: token.content for token_id, token in self.engine.get_added_tokens_decoder().items()}
        table: list[bytes] = []
        for token_id in range(self.size):
            token = added.get(token_id) or self.engine.id_to_token(token_id) or ""
            plain = token_id in added or any(character not in _BYTE_OF for character in token)
            table.append(token.encode() if plain else bytes(_BYTE_OF[character] for character in token))
        return table

    @functools.cached_property
    def continues(self) -> NDArray[np.bool_]:
        """Whether each token continues a word, (size,): `##ing` in WordPiece, letters without a space in byte-level."""
        tokens = [self.engine.id_to_token(token_id) or "" for token_id in range(self.size)]
        if self.byte_level:
            return np.array([token[:1].isalnum() for token in tokens])
        return np.array([token.startswith("##") for token in tokens])


def tokenizer_from_json(text: str) -> Tokenizer:
    """The tokenizer described by a tokenizer.json. Raises DlkitError if it is not valid."""
    try:
        return Tokenizer(Engine.from_str(text))
    except Exception as error:  # the library raises plain Exception
        raise DlkitError(f"not a tokenizer: {error}") from error


def auto(_: Iterable[Text], special: tuple[str, ...]) -> Tokenizer:
    """A placeholder for the tokenizer that the task and the checkpoint determine; never called."""
    raise NotImplementedError(special)


def byte(_: Iterable[Text], special: tuple[str, ...]) -> Tokenizer:
    """Bytes as tokens: id b is the byte b, and special tokens follow."""
    return _byte_level(
        Engine(models.BPE(vocab={name: byte for byte, name in _CHARACTER_OF.items()}, merges=[])), special
    )


def bpe(
    texts: Iterable[Text], special: tuple[str, ...], *, vocab_size: Annotated[int, Ge(256), Le(MOST_TOKENS)] = 4096
) -> Tokenizer:
    """Byte-level byte-pair encoding, learned from the training text.

    Sennrich et al., arXiv:1508.07909; on bytes: Radford et al. 2019.

    Args:
        vocab_size: the number of tokens: the 256 bytes and as many merges as the text allows, plus special tokens.
    """
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = list(_CHARACTER_OF.values())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    _learn(engine, (piece for text in texts for piece in text.pieces()), trainer)
    return _byte_level(engine, special)


def wordpiece(
    texts: Iterable[Text],
    special: tuple[str, ...],
    *,
    vocab_size: Annotated[int, Ge(100), Le(MOST_TOKENS)] = 8192,
    lowercase: bool = True,
) -> Tokenizer:
    """WordPiece, learned from the training text (Schuster & Nakajima 2012).

    Args:
        vocab_size: the largest number of tokens, special ones included.
        lowercase: ignore case and accents, as in BERT "uncased".
    """
    engine = _wordpiece(models.WordPiece(unk_token="[UNK]"), lowercase).engine
    normalizer = engine.normalizer

    def pieces() -> Iterator[str]:
        # the trainer stores every distinct word: without this, a text without spaces would be stored whole
        return (_TOO_LONG.sub(" ", normalizer.normalize_str(piece)) for text in texts for piece in text.pieces())

    counts: Counter[str] = Counter()
    with stage("letters counted") as advance:
        for piece in pieces():
            counts.update(piece)
            advance(len(piece))
    letters = sorted(sorted(counts), key=lambda c: -counts[c])[:_LETTERS]
    # The trainer assigns ids to letters inside words in the order of a random hash, and breaks ties by id. As special
    # tokens they have fixed ids; the vocabulary is then given to a model without these special tokens.
    inside = [f"##{c}" for c in letters if not (c.isspace() or (c.isascii() and not c.isalnum()))]
    # [UNK] is for characters that do not occur in the training text
    special = tuple(dict.fromkeys((*MASKED, *special)))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*special, *sorted(inside)],
        initial_alphabet=letters,
        limit_alphabet=_LETTERS,
        show_progress=False,
    )
    _learn(engine, pieces(), trainer)
    vocabulary = dict(sorted(engine.get_vocab().items(), key=lambda item: item[1]))
    return _wordpiece(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"), lowercase)


def _learn(engine: Engine, pieces: Iterable[str], trainer: trainers.Trainer) -> None:
    """Train on a text that is read once. The merging that follows cannot report progress."""
    with stage("letters read for the tokenizer") as advance:

        def read() -> Iterator[str]:
            for piece in pieces:
                yield piece
                advance(len(piece))

        engine.train_from_iterator(read(), trainer)


def _byte_level(engine: Engine, special: tuple[str, ...]) -> Tokenizer:
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens(list(special))
    return Tokenizer(engine)


def _wordpiece(model: models.WordPiece, lowercase: bool) -> Tokenizer:
    engine = Engine(model)
    engine.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.add_special_tokens([name for name in MASKED if engine.token_to_id(name) is not None])
    return Tokenizer(engine)
