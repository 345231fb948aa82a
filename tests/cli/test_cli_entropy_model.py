"""dlkit entropy --model: bits per byte, tokens, the page, totals and mistakes."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, MASKED
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface

TEXT = "def f(x):\n    return x  # the with statement\n" * 30
HOSTILE = b"<script>document.title='bad'</script> \x1b[31mred\x1b]0;x\x07 \xff\xfe caf\xc3\xa9 \xe2\x80\xaertl &amp;\n"

CHROMIUM = "/usr/bin/chromium"
CONTRASTS = """() => [...document.querySelectorAll('.key span')].slice(1).map(span => {
  const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = colour => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map(value => linear(Number(value) / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(span), a = light(style.color), b = light(style.backgroundColor);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})"""


def write(folder: Path, model: Any, tokenizer: tokenizers.Tokenizer) -> Path:
    from dlkit.app.exportable_run import exportable_texts
    from dlkit.export.huggingface import write_hub_directory
    from dlkit.lm.language_model import LanguageModel

    task = "causal-lm" if isinstance(model, GPT) else "masked-lm"
    folder.mkdir()
    write_hub_directory(exportable_texts(LanguageModel(folder, model, tokenizer, task, None, lambda: model)), folder)
    return folder


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT with random weights as a Hugging Face directory."""
    torch.manual_seed(0)
    tokenizer = tokenizers.bpe([Text.of(TEXT)], CAUSAL, vocab_size=300)
    model = GPT(tokenizer.size, 32, layers=1, heads=2, width=16).eval()
    return write(tmp_path_factory.mktemp("model") / "gpt", model, tokenizer)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_bits_a_byte_are_those_of_eval(here: Any, tmp_path: Path, text: Path) -> None:
    tiny = ["model.layers=1", "model.width=16", "model.heads=2"]
    settings = ["data.context=32", "train.steps=3", "train.precision=fp32", "data.validation=0.1"]
    run = tmp_path / "run"
    begun = here("train", "text-gpt", f"data.path={text}", *tiny, *settings, "--run-dir", str(run), "-q")
    assert begun.code == 0, begun.err
    for stride in ("32", "9"):
        change = ["data.validation=0", "data.context=32", f"data.stride={stride}"]
        expected = here("eval", str(run), *change, "--split", "train").record["metrics"]
        record = here("entropy", str(text), "--model", str(run), "--stride", stride).record
        assert record["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], abs=1e-5)
        assert record["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-4)
        assert record["convention"]["stride"] == int(stride)
        assert record["convention"]["first_token"] == "predicted from <|endoftext|>"
    quiet = here("entropy", str(text), "--model", str(run), "--stride", "9", "-q")
    assert (float(quiet.out), quiet.err) == (record["bits_per_byte"], "")


def test_bits_are_those_of_gpt2_in_transformers(here: Any, gpt: Path, text: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(gpt).eval()
    ids = transformers.AutoTokenizer.from_pretrained(gpt)(TEXT[:60], add_special_tokens=False)["input_ids"][:31]
    text.write_text(transformers.AutoTokenizer.from_pretrained(gpt).decode(ids))
    whole = torch.tensor([[model.config.bos_token_id, *ids]])
    with torch.no_grad():
        loss = model(whole, labels=whole).loss.double()
    record = here("entropy", str(text), "--model", str(gpt)).record
    assert record["n"] == len(ids)
    assert record["bits_per_token"] == pytest.approx((loss / torch.tensor(2.0).log()).item(), abs=1e-5)


def test_the_record_adds_up(here: Any, gpt: Path, text: Path) -> None:
    pytest.importorskip("zstandard")
    record = here("entropy", str(text), "--model", str(gpt), "--codecs").record
    assert record["bytes"] == len(TEXT)
    bits = record["bits_per_byte"] * record["bytes"]
    assert record["payload_bytes"] == -int(-bits // 8)
    assert bits == pytest.approx(record["bits_per_token"] * record["n"])
    weights = sum(tensor.numel() * 4 for tensor in huggingface.read_directory(gpt).tensors.values())
    tokenizer = (gpt / "tokenizer.json").stat().st_size
    assert record["model_bytes"] in (weights + tokenizer, weights - 301 * 16 * 4 + tokenizer)  # a tied head counts once
    assert record["total_bytes"] == record["payload_bytes"] + record["model_bytes"]
    low, high = record["bits_per_byte_interval"]
    assert low < record["bits_per_byte"] < high
    assert record["interval"]["block_tokens"] >= 1
    assert set(record["codecs"]) == {"gzip", "bzip2", "xz", "zstd"}


def test_tokens_one_record_each(here: Any, gpt: Path, tmp_path: Path) -> None:
    (tmp_path / "hostile").write_bytes(HOSTILE)
    result = here("entropy", str(tmp_path / "hostile"), "--model", str(gpt), "--tokens")
    *tokens, summary = map(json.loads, result.out.splitlines())
    assert b"".join(bytes.fromhex(token["hex"]) for token in tokens) == HOSTILE
    assert [token["place"] for token in tokens] == list(range(len(tokens)))
    assert sum(token["bits"] for token in tokens) == pytest.approx(summary["bits_per_token"] * summary["n"])
    for token in tokens:
        odds = [other["p"] for other in token["alternatives"]]
        assert odds == sorted(odds, reverse=True)
        assert len(odds) == 5
        if token["rank"] <= 5:
            assert token["alternatives"][token["rank"] - 1]["p"] == pytest.approx(2 ** -token["bits"], rel=1e-4)


def test_the_page_shows_hostile_tokens_as_text(here: Any, gpt: Path, tmp_path: Path) -> None:
    (tmp_path / "hostile").write_bytes(HOSTILE)
    page = tmp_path / "page.html"
    result = here("entropy", str(tmp_path / "hostile"), "--model", str(gpt), "--surprisal", str(page), "-q")
    assert result.code == 0, result.err
    source = page.read_text(encoding="utf-8")
    assert source.count("<script") == 2  # its own
    assert "\x1b" not in source and "\u202e" not in source
    assert "http" not in source.replace("http-equiv", "")


def test_a_long_text_is_cut_on_the_page_and_says_so(
    here: Any, gpt: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlkit.app import score

    monkeypatch.setattr(score, "MOST_ON_PAGE", 7)
    result = here("entropy", str(text), "--model", str(gpt), "--surprisal", str(tmp_path / "page.html"))
    assert "shows the first 7 of" in result.err
    assert "the first 7 tokens" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("data", [b"x", b"\xff", b"\x00" * 3, "é".encode(), HOSTILE * 40])
def test_short_and_odd_texts(here: Any, gpt: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "data").write_bytes(data)
    record = here("entropy", str(tmp_path / "data"), "--model", str(gpt)).record
    assert record["bytes"] == len(data)
    assert record["bits_per_byte"] > 0
    assert (record["interval"] is None) == (record["n"] < 16)


@pytest.mark.parametrize("kind", ["wordpiece", "lowercase"])
def test_where_tokens_lose_the_text_only_the_bits_a_byte_are_left_out(
    here: Any, gpt: Path, tmp_path: Path, text: Path, kind: str
) -> None:
    import transformers

    text.write_text(TEXT.title())
    if kind == "wordpiece":
        tokenizer = tokenizers.wordpiece([Text.of(TEXT)], MASKED, vocab_size=200)
        torch.manual_seed(0)
        hub = write(tmp_path / "hub", GPT(tokenizer.size, 16, layers=1, heads=2, width=16).eval(), tokenizer)
    else:
        hub = Path(shutil.copytree(gpt, tmp_path / "hub"))
        described = json.loads((hub / "tokenizer.json").read_text()) | {"normalizer": {"type": "Lowercase"}}
        (hub / "tokenizer.json").write_text(json.dumps(described))
    result = here("entropy", str(text), "--model", str(hub), "--tokens", "--surprisal", str(tmp_path / "page.html"))
    assert result.code == 0, result.err
    *told, record = map(json.loads, result.out.splitlines())
    assert set(record["left_out"]) == {"bits_per_byte", "payload_bytes", "total_bytes"}
    assert not record["left_out"].keys() & record.keys()
    assert result.err.count("left out") == 1
    assert all(token["byte"] is None and token["text"] for token in told)
    # the first window, as transformers has it
    theirs: Any = transformers.PreTrainedTokenizerFast(tokenizer_file=str(hub / "tokenizer.json"))
    numbers = theirs(TEXT.title(), add_special_tokens=False)["input_ids"]
    assert [token["token"] for token in told] == numbers
    before = theirs.convert_tokens_to_ids("[SEP]" if kind == "wordpiece" else tokenizers.END)
    inputs = torch.tensor([[before, *numbers][:16]])
    with torch.inference_mode():
        logits = transformers.GPT2LMHeadModel.from_pretrained(hub)(inputs).logits[0]
    bits = torch.nn.functional.cross_entropy(logits, torch.tensor(numbers[:16]), reduction="none") / math.log(2)
    assert [token["bits"] for token in told[:16]] == pytest.approx(bits.tolist(), abs=1e-4)
    quiet = here("entropy", str(text), "--model", str(hub), "-q")
    assert (quiet.code, quiet.out) == (1, "")
    assert "has no bits per byte under" in quiet.err.splitlines()[0]
    for data, message in ((b"caf\xe9", "is not UTF-8 text: byte 0xe9 at offset 3"), (b"\0", "which drops all of it")):
        if kind == "wordpiece":
            text.write_bytes(data)
            result = here("entropy", str(text), "--model", str(hub))
            assert (result.code, result.out, message in result.err) == (1, "", True)


def test_models_that_give_a_text_no_probability_are_named(here: Any, trained: Path, tmp_path: Path, text: Path) -> None:
    torch.manual_seed(0)
    tokenizer = tokenizers.wordpiece([Text.of(TEXT)], MASKED, vocab_size=200)
    bert = write(tmp_path / "bert", BERT(tokenizer.size, 16, None, layers=1, heads=2, width=16), tokenizer)
    result = here("entropy", str(text), "--model", str(bert))
    assert (result.code, "is a model for masked-lm" in result.err) == (2, True)
    result = here("entropy", str(text), "--model", str(trained))
    assert (result.code, "holds no BERT or GPT" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--context", "33"], 2, "looks back on 32 tokens at most"),
        (["--stride", "33"], 2, "more than the context of 32"),
        (["--context", "0"], 2, "--context"),
        (["--order", "1"], 2, "--order does not go with --model"),
        (["--p", "1"], 2, "--p does not go with --model"),
        (["--base", "e"], 2, "--base does not go with --model"),
        (["--plot", "x.svg"], 2, "--plot does not go with --model"),
        (["--surprisal", "page.svg"], 2, "--surprisal page.svg does not end in .html"),
        (["--surprisal", "absent/page.html"], 2, "--surprisal absent/page.html: there is no folder absent"),
    ],
)
def test_mistakes(here: Any, gpt: Path, text: Path, arguments: list[str], code: int, message: str) -> None:
    result = here("entropy", str(text), "--model", str(gpt), *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err.splitlines()[0]
    assert "Traceback" not in result.err


def test_more_mistakes(here: Any, gpt: Path, text: Path, tmp_path: Path, stdin: Any) -> None:
    assert "--tokens needs --model" in here("entropy", str(text), "--tokens").err
    (tmp_path / "empty").touch()
    result = here("entropy", str(tmp_path / "empty"), "--model", str(gpt))
    assert (result.code, "is empty: there is nothing to predict" in result.err) == (1, True)
    for path in (tmp_path, tmp_path / "absent"):
        result = here("entropy", str(path), "--model", str(gpt))
        assert (result.code, f"cannot read {path}" in result.err) == (1, True)
    result = here("entropy", str(text), "--model", str(tmp_path / "absent"))
    assert (result.code, "no such run" in result.err) == (1, True)
    stdin(b"x")
    assert "cannot both come from standard input" in here("entropy", "--model", "-").err


@pytest.mark.browser
@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no {CHROMIUM}")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(here: Any, gpt: Path, tmp_path: Path, scheme: Any) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    (tmp_path / "hostile").write_bytes(HOSTILE + TEXT.encode())
    page_file = tmp_path / "page.html"
    assert here("entropy", str(tmp_path / "hostile"), "--model", str(gpt), "--surprisal", str(page_file)).code == 0
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(color_scheme=scheme)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
        page.goto(page_file.as_uri())
        assert page.title().startswith("Surprisal under")
        shown = page.locator("pre").inner_text()
        assert shown.startswith("<script>document.title='bad'</script> \\x1b[31mred")
        page.locator("pre span").nth(3).hover()
        tip = page.locator("#tip")
        assert tip.is_visible()
        assert "rank" in tip.inner_text() and "expected" in tip.inner_text()
        assert tip.locator("tr").count() == 5
        page.keyboard.press("ArrowRight")
        assert page.locator("pre span.on").count() == 1
        page.locator("input").fill("20")
        assert page.locator("pre span.faint").count() == page.locator("pre span").count()
        # text on each step of the scale can be read: a contrast of at least 4.5 (WCAG 2.2, 1.4.3)
        ratios = page.evaluate(CONTRASTS)
        assert len(ratios) == 6 and min(ratios) >= 4.5
        assert not problems
        browser.close()


def test_prequential_is_what_compress_spends(here: Any, gpt: Path, text: Path) -> None:
    packed = here("compress", str(text), "--prequential", "--json").record
    alone = here("entropy", str(text), "--prequential").record
    assert alone["prequential_bytes"] == pytest.approx(packed["ideal_bytes"], abs=1.01)  # a part of a byte is a byte
    assert alone["prequential_bits_per_byte"] == pytest.approx(8 * packed["ideal_bytes"] / len(TEXT), rel=1e-3)
    beside = here("entropy", str(text), "--prequential", "--model", str(gpt)).record
    assert beside["prequential_bytes"] == alone["prequential_bytes"]
    assert beside["total_bytes"] == beside["payload_bytes"] + beside["model_bytes"]
