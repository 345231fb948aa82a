"""Checkpoints that transformers builds, with every key that changes what is computed: the same logits, or its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dlkit.errors import DlkitError
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface, huggingface_export

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TOKENS = torch.randint(40, (2, 11), generator=torch.Generator().manual_seed(1))
SIZES = {
    "Bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
             "max_position_embeddings": 24},
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24},
    "OpenAIGPT": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24},
}  # fmt: skip


def build(path: Path, family: str, head: str, **keys: Any) -> Any:
    """A model of transformers with large random weights, saved."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(vocab_size=40, **SIZES[family], **keys)
    model = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(path)
    return model


def opened(path: Path) -> BERT | GPT:
    hub = huggingface.read_directory(path)
    context = hub.architecture["context"]
    if hub.family == "gpt":
        model: Any = GPT(hub.vocabulary, context, **hub.architecture)
    else:
        model = BERT(hub.vocabulary, context, hub.outputs, **hub.architecture)
    assert huggingface.load_language_weights(model, hub) == []
    return model.eval()


@torch.no_grad()
def assert_same(path: Path, theirs: Any) -> None:
    """Equal logits, as it is and after an export."""
    ours = opened(path)
    torch.testing.assert_close(ours(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=1e-4)
    again = path / "again"
    again.mkdir()
    labels = huggingface.read_directory(path).classes
    (again / "config.json").write_text(json.dumps(huggingface_export.config_of(ours, labels)))
    save_file(huggingface_export.tensors_of(ours), again / "model.safetensors", {"format": "pt"})
    back = type(theirs).from_pretrained(again).eval()
    torch.testing.assert_close(back(TOKENS).logits, theirs(TOKENS).logits, atol=2e-5, rtol=1e-4)


HONOURED = [
    *(("Bert", "ForMaskedLM", {"hidden_act": name}) for name in ("gelu", "gelu_new", "gelu_fast", "gelu_python",
                                                                "gelu_pytorch_tanh", "gelu_accurate", "relu", "silu",
                                                                "swish", "tanh")),
    ("Bert", "ForMaskedLM", {"layer_norm_eps": 0.3}),
    ("Bert", "ForMaskedLM", {"tie_word_embeddings": False}),
    ("Bert", "ForMaskedLM", {"pad_token_id": 3, "chunk_size_feed_forward": 11, "initializer_range": 1.0}),
    ("Bert", "ForPreTraining", {}),
    ("Bert", "ForSequenceClassification", {"num_labels": 3, "classifier_dropout": 0.5}),
    ("Bert", "ForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}),
    ("Bert", "ForSequenceClassification", {"tie_word_embeddings": False}),
    *(("GPT2", "LMHeadModel", {"activation_function": name}) for name in ("gelu", "gelu_new", "relu", "silu", "tanh")),
    ("GPT2", "LMHeadModel", {"n_inner": 24, "layer_norm_epsilon": 0.3}),
    ("GPT2", "LMHeadModel", {"tie_word_embeddings": False}),
    ("GPT2", "LMHeadModel", {"reorder_and_upcast_attn": True}),
    ("GPT2", "LMHeadModel", {"summary_type": "mean", "summary_use_proj": False, "use_cache": False}),
    *(("OpenAIGPT", "LMHeadModel", {"afn": name}) for name in ("gelu", "relu", "silu", "swish")),
    ("OpenAIGPT", "LMHeadModel", {"layer_norm_epsilon": 0.3, "tie_word_embeddings": False}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "head", "keys"), HONOURED)
def test_a_key_that_changes_the_logits_is_honoured(
    tmp_path: Path, family: str, head: str, keys: dict[str, Any]
) -> None:
    theirs = build(tmp_path, family, head, **keys)
    if head == "ForPreTraining":
        with torch.no_grad():
            expected = theirs(TOKENS).prediction_logits
            torch.testing.assert_close(opened(tmp_path)(TOKENS), expected, atol=2e-5, rtol=1e-4)
        return
    assert_same(tmp_path, theirs)


@pytest.mark.parametrize(
    ("family", "head", "keys", "named"),
    [
        ("Bert", "ForMaskedLM", {"type_vocab_size": 3}, "type_vocab_size = 3"),
        ("Bert", "LMHeadModel", {"is_decoder": True}, "is_decoder = True"),
        ("Bert", "ForMaskedLM", {"add_cross_attention": True, "is_decoder": False}, "add_cross_attention = True"),
        (
            "Bert",
            "ForMaskedLM",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type = 'relative_key'",
        ),
        ("Bert", "ForMaskedLM", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ("Bert", "ForMaskedLM", {"hidden_act": "quick_gelu"}, "no activation 'quick_gelu'"),
        ("Bert", "ForMaskedLM", {"auto_map": {"AutoModel": "modeling_mine.Mine"}}, "modeling_mine.Mine"),
        ("GPT2", "LMHeadModel", {"scale_attn_weights": False}, "scale_attn_weights = False"),
        ("GPT2", "LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
    ],
)
def test_a_key_that_is_not_honoured_is_named(
    tmp_path: Path, family: str, head: str, keys: dict[str, Any], named: str
) -> None:
    if "add_cross_attention" in keys or "pruned_heads" in keys or "auto_map" in keys:  # transformers builds no such one
        build(tmp_path, family, head)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | keys))
    else:
        build(tmp_path, family, head, **keys)
    with pytest.raises(DlkitError) as caught:
        huggingface.read_directory(tmp_path)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("family", "head", "surplus"),
    [
        ("Bert", "ForTokenClassification", "classifier.weight"),
        ("Bert", "ForQuestionAnswering", "qa_outputs.weight"),
        ("GPT2", "ForSequenceClassification", "score.weight"),
        ("GPT2", "ForTokenClassification", "classifier.weight"),
        ("OpenAIGPT", "ForSequenceClassification", "score.weight"),
    ],
)
def test_a_head_that_dlkit_does_not_have_is_named(tmp_path: Path, family: str, head: str, surplus: str) -> None:
    build(tmp_path, family, head)
    with pytest.raises(DlkitError, match=f"surplus {surplus}"):
        opened(tmp_path)


def change(path: Path, tensors: Any = None, **keys: Any) -> None:
    """Change the config.json (... leaves a key out) and the tensors of a directory."""
    config = json.loads((path / "config.json").read_text()) | keys
    (path / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    if tensors is not None:
        found = load_file(path / "model.safetensors")
        tensors(found)
        save_file(found, path / "model.safetensors", {"format": "pt"})


def test_a_classifier_without_names_is_a_classifier(tmp_path: Path) -> None:
    theirs = build(tmp_path, "Bert", "ForSequenceClassification", num_labels=3)
    change(tmp_path, id2label=..., label2id=..., num_labels=...)
    hub = huggingface.read_directory(tmp_path)
    assert (hub.outputs, hub.classes) == (3, ("LABEL_0", "LABEL_1", "LABEL_2"))
    with torch.no_grad():
        torch.testing.assert_close(opened(tmp_path)(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=1e-4)
    change(tmp_path, id2label={"0": "no", "1": "yes"})
    with pytest.raises(DlkitError, match=r"names 2 classes \(no, yes\), its classifier has 3 outputs"):
        huggingface.read_directory(tmp_path)
    change(tmp_path, id2label={"first": "no"})
    with pytest.raises(DlkitError, match="no names by number"):
        huggingface.read_directory(tmp_path)


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("family", "head", "name"), [("Bert", "ForMaskedLM", "cls.predictions.decoder.weight"),
                                                      ("GPT2", "LMHeadModel", "lm_head.weight")])  # fmt: skip
def test_a_last_layer_that_is_there_is_used_whatever_the_config_says(
    tmp_path: Path, family: str, head: str, name: str, said: bool
) -> None:
    build(tmp_path, family, head, tie_word_embeddings=False)
    change(tmp_path, tie_word_embeddings=said)
    theirs = getattr(transformers, f"{family}{head}").from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(opened(tmp_path)(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=1e-4)
    change(tmp_path, lambda tensors: tensors.pop(name), tie_word_embeddings=False)
    with pytest.raises(DlkitError, match=f"tie_word_embeddings = False, but no {name}"):
        huggingface.read_directory(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_shards_and_short_numbers_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    model = build(tmp_path / "whole", "GPT2", "LMHeadModel")
    model.to(dtype).save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    with torch.no_grad():
        expected = model.float()(TOKENS).logits
        torch.testing.assert_close(opened(tmp_path / "shards")(TOKENS), expected, atol=2e-5, rtol=1e-4)
    index = tmp_path / "shards" / "model.safetensors.index.json"
    places = json.loads(index.read_text())
    for weight_map, message in (
        ({**places["weight_map"], "more": places["weight_map"]["transformer.ln_f.bias"]}, "lacks more"),
        ({**places["weight_map"], "more": "../config.json"}, "names a file outside"),
        ({**places["weight_map"], "more": "model-9.safetensors"}, "no such file"),
        ("none", "has no weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(DlkitError, match=message):
            huggingface.read_directory(tmp_path / "shards")
    index.write_text("[")
    with pytest.raises(DlkitError, match="is not JSON"):
        huggingface.read_directory(tmp_path / "shards")


def test_numbers_that_stand_for_others_are_refused(tmp_path: Path) -> None:
    build(tmp_path, "GPT2", "LMHeadModel")
    name = "transformer.h.0.mlp.c_fc.weight"
    change(tmp_path, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    with pytest.raises(DlkitError, match=f"{name} holds int8 numbers"):
        huggingface.read_directory(tmp_path)


def test_other_names_of_a_size_are_understood(tmp_path: Path) -> None:
    theirs = build(tmp_path, "GPT2", "LMHeadModel")
    change(tmp_path, n_embd=..., n_layer=..., n_head=..., n_positions=..., hidden_size=16, num_hidden_layers=2,
           num_attention_heads=2, max_position_embeddings=24)  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(opened(tmp_path)(TOKENS), theirs(TOKENS).logits, atol=2e-5, rtol=1e-4)
    change(tmp_path, n_head=4)
    with pytest.raises(DlkitError, match="n_head = 4 and num_attention_heads = 2 say different things"):
        huggingface.read_directory(tmp_path)


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        (7, None, {7}),
        ([7, 9], None, {7, 9}),
        (7, 9, {9}),
        (7, [9, 8], {8, 9}),
        (None, None, set()),
        (50256, None, set()),
    ],
)
def test_a_text_ends_where_the_files_say(tmp_path: Path, config: Any, generation: Any, ends: set[int]) -> None:
    build(tmp_path, "GPT2", "LMHeadModel")
    change(tmp_path, eos_token_id=config)
    (tmp_path / "generation_config.json").write_text(
        json.dumps({} if generation is None else {"eos_token_id": generation})
    )
    assert huggingface.read_directory(tmp_path).ends == ends
    change(tmp_path, eos_token_id="</s>")
    if generation is None:
        with pytest.raises(DlkitError, match="eos_token_id = '</s>'"):
            huggingface.read_directory(tmp_path)
