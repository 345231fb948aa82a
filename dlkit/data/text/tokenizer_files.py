"""The tokenizer of a Hugging Face directory: tokenizer.json, vocab.json with merges.txt, or BERT's vocab.txt.

The settings of tokenizer_config.json apply to all of them, as in `transformers`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Engine

from dlkit.annotations import is_mapping
from dlkit.data.text.tokenizer import END, MASKED, Tokenizer, tokenizer_from_json
from dlkit.errors import DlkitError
from dlkit.lines import decode_lines
from dlkit.text_input import ordinary_file, read_json_mapping

_WORD_END = "</w>"  # of GPT-1
_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# From keys of tokenizer_config.json to arguments of BertNormalizer.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def tokenizer_from_directory(path: Path) -> Tokenizer:
    """The tokenizer of a directory.

    Raises:
        DlkitError: there is none, it cannot be read, or its tokenizer_config.json has an unsupported setting.
    """
    try:
        config = _config(path)
        if (path / "tokenizer.json").exists():
            text = ordinary_file(path / "tokenizer.json").read_text(encoding="utf-8-sig")
            engine = _configured(tokenizer_from_json(text), config)
        elif (path / "vocab.json").exists() and (path / "merges.txt").exists():
            engine = _pairs(path, config)
        elif (path / "vocab.txt").exists():
            engine = _wordpiece(path, config)
        else:
            raise DlkitError(
                "there is no tokenizer", "it needs tokenizer.json, vocab.json with merges.txt, or vocab.txt"
            )
        _add(engine, path, config)
        return Tokenizer(engine)
    except OSError as error:
        raise DlkitError(f"cannot read the tokenizer in {path}: {error.filename or path}: {error.strerror}") from error
    except DlkitError as error:
        raise DlkitError(f"{path}: {error.message}", error.hint) from error
    except Exception as error:  # the library raises plain Exception
        raise DlkitError(f"the tokenizer in {path} is broken: {error}") from error


def end_token_ids(path: Path, tokenizer: Tokenizer) -> set[int]:
    """The ids of tokens that end a text, according to tokenizer_config.json or special_tokens_map.json."""
    for names in (_config(path), _mapping(path / "special_tokens_map.json")):
        name = _content(names.get("eos_token"))
        token_id = None if name is None else tokenizer.special(name)
        if token_id is not None:
            return {token_id}
    return set()


def _config(path: Path) -> dict[str, Any]:
    file = path / "tokenizer_config.json"
    config = _mapping(file)
    if config.get("added_tokens_decoder") is None:  # as older versions of transformers saved a tokenizer
        config |= _mapping(path / "special_tokens_map.json")
    if config.get("never_split"):
        raise DlkitError(f"{file.name} has never_split = {config['never_split']!r}, which dlkit does not do")
    for key, value in (("do_basic_tokenize", False), ("split_special_tokens", True)):
        if config.get(key) is value:
            raise DlkitError(f"{file.name} has {key} = {value}, which dlkit does not do")
    for key in (*_NORMALIZER, "add_prefix_space"):
        if not isinstance(config.get(key), (bool, type(None))):
            raise DlkitError(f"{file.name} has {key} = {config[key]!r}, which must be true, false or null")
    return config


def _mapping(file: Path) -> dict[str, Any]:
    """The content of a file of JSON; nothing if there is none."""
    return read_json_mapping(file, "is the download whole?") if file.exists() else {}


def _content(token: Any) -> str | None:
    """The text of a token that a file gives as a string or as an object with settings."""
    name = token.get("content") if is_mapping(token) else token
    return name if isinstance(name, str) else None


def _normalizer(config: dict[str, Any], **usual: Any) -> normalizers.Normalizer:
    keys = usual | {ours: config[key] for key, ours in _NORMALIZER.items() if key in config}
    # null means the default: accents are stripped if text is lower-cased
    return normalizers.BertNormalizer(**{key: value for key, value in keys.items() if value is not None})


def _configured(tokenizer: Tokenizer, config: dict[str, Any]) -> Engine:
    """Apply the settings of tokenizer_config.json to a tokenizer.json of the BERT or GPT-2 family."""
    engine, kind = tokenizer.engine, str(config.get("tokenizer_class"))
    described = json.loads(tokenizer.to_json())
    if kind.startswith("Bert") and (described["normalizer"] or {}).get("type") == "BertNormalizer":
        usual = {key: value for key, value in described["normalizer"].items() if key != "type"}
        engine.normalizer = _normalizer(config, **usual)
        unknown = _content(config.get("unk_token"))
        if unknown is not None and described["model"].get("type") == "WordPiece":
            engine.model = models.WordPiece(
                vocab=described["model"]["vocab"],
                unk_token=unknown,
                max_input_chars_per_word=described["model"]["max_input_chars_per_word"],
                continuing_subword_prefix=described["model"]["continuing_subword_prefix"],
            )
    space, splits = config.get("add_prefix_space"), described["pre_tokenizer"] or {}
    if kind.startswith("GPT2") and splits.get("type") == "ByteLevel" and space is not None:
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=splits.get("use_regex", True))
    return engine


def _pairs(path: Path, config: dict[str, Any]) -> Engine:
    """Byte-pair encoding: of bytes as in GPT-2, or of characters with words that end in </w> as in GPT-1."""
    vocabulary, merges = _mapping(path / "vocab.json"), _merges(path / "merges.txt")
    if any(token.endswith(_WORD_END) for token in vocabulary):
        unknown = _content(config.get("unk_token")) or "<unk>"
        engine = Engine(models.BPE(vocabulary, merges, end_of_word_suffix=_WORD_END, unk_token=unknown))
        engine.normalizer = normalizers.BertNormalizer(lowercase=True)
        engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        engine.decoder = decoders.BPEDecoder(suffix=_WORD_END)
        known = (unknown,)
    else:
        engine = Engine(models.BPE(vocabulary, merges))
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space")))
        engine.decoder = decoders.ByteLevel()
        known = (END,)
    engine.add_special_tokens([name for name in known if engine.token_to_id(name) is not None])
    return engine


def _merges(file: Path) -> list[tuple[str, str]]:
    """One pair per line; not read by the library, which takes a byte-order mark for a letter."""
    found: list[tuple[str, str]] = []
    with ordinary_file(file).open("rb") as stream:
        for number, line in enumerate(decode_lines(stream), start=1):
            if line.startswith("#version") or not line:
                continue
            first, space, second = line.partition(" ")
            if not space or not first or not second or " " in second:
                raise DlkitError(f"line {number} of {file.name} is not a pair: {line!r}", "is the download whole?")
            found.append((first, second))
    return found


def _wordpiece(path: Path, config: dict[str, Any]) -> Engine:
    with ordinary_file(path / "vocab.txt").open("rb") as file:
        vocabulary = {word: token_id for token_id, word in enumerate(decode_lines(file))}
    unknown = _content(config.get("unk_token")) or "[UNK]"
    engine = Engine(models.WordPiece(vocab=vocabulary, unk_token=unknown))
    engine.normalizer = _normalizer(config, lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    engine.add_special_tokens([name for name in (*MASKED, unknown) if engine.token_to_id(name) is not None])
    return engine


def _add(engine: Engine, path: Path, config: dict[str, Any]) -> None:
    """Add the tokens beside the vocabulary, with their ids.

    They stand in tokenizer_config.json, which wins over tokenizer.json; or, as older versions of transformers saved
    them, in added_tokens.json, which does not.
    """
    known = engine.get_added_tokens_decoder()
    if config.get("added_tokens_decoder") is not None:
        added = {int(token_id): _added_token(token) for token_id, token in config["added_tokens_decoder"].items()}
    else:
        special = _special_names(config)
        added = {
            token_id: AddedToken(name, normalized=name not in special, special=name in special)
            for name, token_id in _mapping(path / "added_tokens.json").items()
            if token_id not in known
        }
    for token_id, token in sorted(added.items()):
        if repr(token) == repr(known.get(token_id)):
            continue
        (engine.add_special_tokens if token.special else engine.add_tokens)([token])
        if engine.token_to_id(token.content) != token_id:
            raise DlkitError(
                f"the added token {token.content!r} has id {token_id}, not {engine.token_to_id(token.content)}",
                "save the tokenizer anew: it then has a tokenizer.json",
            )


def _added_token(token: dict[str, Any]) -> AddedToken:
    return AddedToken(**{key: value for key, value in token.items() if key != "__type"})


def _special_names(config: dict[str, Any]) -> set[str]:
    """The tokens that a configuration calls special: each under its role, others in lists."""
    lists = [config.get(key) or [] for key in ("additional_special_tokens", "extra_special_tokens")]
    tokens = [*(config.get(role) for role in _ROLES), *(token for tokens in lists for token in tokens)]
    return {name for token in tokens if (name := _content(token)) is not None}
