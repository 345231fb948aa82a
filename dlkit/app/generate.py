"""Sample text from a GPT: `dlkit.generate`, and what `dlkit generate` prints."""

from __future__ import annotations

import dataclasses
import os
import time
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlkit.app.events import Remark, Work
from dlkit.app.required_files import require_language_run
from dlkit.errors import RequestError

if TYPE_CHECKING:
    from dlkit.lm.language_model import LanguageModel
    from dlkit.lm.sampling import Sampling
    from dlkit.lm.streaming import TextStream

_LONGEST_TOKEN = 256  # characters; hardly any vocabulary has a longer token


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next characters of a text, as they are sampled."""

    text: str


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A text that was sampled, without its prompt. `stopped` at an end token or a stop text, not by its length."""

    run: str
    prompt: str
    text: str
    tokens: int
    tokens_per_second: float  # of all texts that were sampled beside it
    precision: str
    stopped: bool

    def record(self) -> dict[str, Any]:
        """What `dlkit generate` prints of it."""
        return dataclasses.asdict(self)


GenerationEvent = Remark | TextPiece | GeneratedText


def generate_texts(
    run: str | os.PathLike[str],
    *prompts: str,
    n: int = 1,
    tokens: int = 256,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 0.95,
    stop: Sequence[str] = (),
    seed: int = 0,
    checkpoint: str | None = None,
    device: str = "auto",
    pieces: bool = False,
) -> Work[GenerationEvent, list[GeneratedText]]:
    """Let a GPT continue prompts; the result has `n` texts for each of them.

    A text depends on its prompt and the seed, not on the other prompts. Of a prompt that is longer than the model's
    context, the end is read.

    Args:
        run: a run, a checkpoint, or a Hugging Face directory.
        prompts: what the texts begin with; none for one text from nothing.
        n: texts of each prompt.
        tokens: to sample for each text, at most.
        temperature: 0 is greedy decoding, 1 the model's own distribution.
        top_k: sample among the K likeliest tokens; 0 for all (Fan et al. 2018, arXiv 1805.04833).
        top_p: sample among the likeliest tokens of probability P (Holtzman et al. 2020, arXiv 1904.09751).
        stop: texts before which a text ends.
        seed: of the samples.
        checkpoint: `last`, `best` or a step; None for the best by validation data, or else the last.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        pieces: yield a `TextPiece` for each bit of the text too; for a single text.

    Raises:
        RequestError: there is no such run, or it is no GPT; an option is out of its range.
        DlkitError: the weights are damaged.
    """
    require_language_run(os.fspath(run))

    from dlkit.lm.language_model import open_language_model, weights_format
    from dlkit.lm.sampling import Sampling
    from dlkit.training.device import pick_device

    sampling = Sampling(temperature, top_k, top_p)
    where = pick_device(device)
    language_model = open_language_model(os.fspath(run), where, checkpoint)
    if not language_model.causal:
        raise RequestError(
            f"{language_model.path} is a model for {language_model.task}, which writes no text", "generate takes a GPT"
        )
    precision = weights_format(language_model, where)
    if precision == "bf16":
        language_model.model.bfloat16()
    return Work(_sample(language_model, prompts or ("",), n, tokens, sampling, tuple(stop), seed, pieces, precision))


def _sample(
    language_model: LanguageModel, prompts: Sequence[str], n: int, most: int, sampling: Sampling,
    stops: tuple[str, ...],
    seed: int, pieces: bool, precision: str,
) -> Generator[GenerationEvent, None, list[GeneratedText]]:  # fmt: skip
    import torch

    from dlkit.data.epochs import hashed_seed
    from dlkit.lm.generation import rows_at_once
    from dlkit.lm.streaming import TextStream

    prompt_ids = yield from _encoded(language_model, prompts)
    encoded = [token_ids for token_ids in prompt_ids for _ in range(n)]
    model: Any = language_model.model
    device = next(model.parameters()).device
    # each sample of what the model sees of a prompt has a seed of its own, whatever prompts stand beside it
    checksums = [zlib.crc32(repr(token_ids).encode()) for token_ids in encoded]
    if pieces:
        yield TextPiece(prompts[0])
    results: list[GeneratedText] = []
    rows = rows_at_once(model, max(map(len, encoded)) + most)
    for begin in range(0, len(encoded), rows):
        batch = range(begin, min(begin + rows, len(encoded)))
        generators = [torch.Generator(device).manual_seed(hashed_seed(seed, checksums[i], i % n)) for i in batch]
        began = time.perf_counter()
        texts = [TextStream(stops) for _ in batch]
        counts = [0] * len(texts)
        for piece in _side_by_side(
            language_model, encoded[begin : batch.stop], most, sampling, generators, texts, counts
        ):
            if pieces and piece:
                yield TextPiece(piece)
        speed = round(sum(counts) / (time.perf_counter() - began), 1)
        if pieces:
            yield TextPiece("\n")
        for i, text, count in zip(batch, texts, counts, strict=True):
            prompt = prompts[i // n]
            found = GeneratedText(str(language_model.path), prompt, text.text, count, speed, precision, text.stopped)
            results.append(found)
            yield found
    return results


def _encoded(language_model: LanguageModel, prompts: Sequence[str]) -> Generator[Remark, None, list[list[int]]]:
    """The token ids of each prompt that the model sees."""
    tokenizer = language_model.tokenizer
    before = [] if tokenizer.separator is None else [tokenizer.separator]
    encoded: list[list[int]] = []
    room: int = language_model.model.context  # pyright: ignore[reportAssignmentType]
    ends = [prompt[-room * _LONGEST_TOKEN :] for prompt in prompts]  # what can matter, of a prompt of any length
    for prompt, end, token_ids in zip(prompts, ends, tokenizer.encode(ends), strict=True):
        whole: list[int] = [*before, *token_ids]
        if not whole:
            raise RequestError("an empty prompt, and the tokenizer has no token to begin with", "give a PROMPT")
        if len(whole) > room:
            counted = f"{len(whole)} tokens" if len(end) == len(prompt) else f"{len(prompt)} characters"
            yield Remark(f"the prompt {prompt[:20]!r}... has {counted}: its last {room} tokens are used")
            whole = whole[-room:]
        encoded.append(whole)
    return encoded


def _side_by_side(
    language_model: LanguageModel, encoded: list[list[int]], most: int, sampling: Sampling, generators: list[Any],
    texts: list[TextStream], counts: list[int],
) -> Generator[str]:  # fmt: skip
    """Let some prompts go on side by side; yields what comes. `texts` take it in, and `counts` its tokens."""
    import torch

    from dlkit.data.text.incremental_decoding import IncrementalDecoder
    from dlkit.lm.generation import fetch_tokens, generate_tokens

    tokenizer, model = language_model.tokenizer, language_model.model
    decoders = [IncrementalDecoder(tokenizer, token_ids) for token_ids in encoded]
    known = None  # a model may have rows for tokens that the tokenizer does not have
    if int(tokenizer.known.sum()) < model.vocabulary:  # pyright: ignore[reportOperatorIssue]
        known = torch.tensor(tokenizer.known.nonzero()[0], device=next(model.parameters()).device)
    steps = generate_tokens(model, encoded, most, sampling, generators, known)  # pyright: ignore
    for token_ids in fetch_tokens(steps):
        for i, token_id in enumerate(token_ids):
            if texts[i].stopped:
                continue
            if token_id in language_model.ends:
                yield texts[i].push(decoders[i].finish()) + texts[i].finish()
                texts[i].stopped = True
                continue
            counts[i] += 1
            yield texts[i].push(decoders[i].push(token_id))
        if all(text.stopped for text in texts):
            break
    for text, decoder in zip(texts, decoders, strict=True):
        yield text.push(decoder.finish()) + text.finish()
