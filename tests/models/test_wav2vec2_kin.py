"""HuBERT, data2vec-audio, WavLM and MMS for CTC against transformers' own: the same logits from the same folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from malsori import load_model
from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import load_recognizer
from malsori.errors import ModelError
from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.hub import load_saved

from .test_wav2vec2 import NORMS, TINY, assert_same_logits, waves

transformers = pytest.importorskip("transformers")

AFTER, BEFORE = NORMS.values()
BUCKETS = {"num_buckets": 12, "max_bucket_distance": 9}
KIN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hubert-base": ("HubertForCTC", "HubertConfig", AFTER),
    "hubert-large": ("HubertForCTC", "HubertConfig", BEFORE),
    "distilled hubert": ("HubertForCTC", "HubertConfig", AFTER | {"feat_proj_layer_norm": False}),
    "mhubert": ("HubertForCTC", "HubertConfig", AFTER | {"conv_pos_batch_norm": True}),
    "data2vec": (
        "Data2VecAudioForCTC", "Data2VecAudioConfig",
        {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5, "conv_bias": False},
    ),
    "wavlm-base": ("WavLMForCTC", "WavLMConfig", AFTER | BUCKETS),
    "wavlm-large": ("WavLMForCTC", "WavLMConfig", BEFORE | BUCKETS),
    "mms": ("Wav2Vec2ForCTC", "Wav2Vec2Config", BEFORE | {"adapter_attn_dim": 6}),
}  # fmt: skip


def theirs(folder: Path, kind: str, **more: Any) -> Any:
    """Save transformers' model of a kind with random weights that are not timid, and return it."""
    torch.manual_seed(0)
    network, config, settings = KIN[kind]
    model = getattr(transformers, network)(getattr(transformers, config)(**(TINY | settings | more))).eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.add_(torch.rand_like(value) * (0.5 if value.dim() < 2 else value[0].numel() ** -0.5))
            assert "running_var" not in name or (value > 0).all()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", KIN)
def test_a_folder_of_transformers_gives_the_same_logits(tmp_path: Path, kind: str) -> None:
    model = theirs(tmp_path / "theirs", kind)
    network = load_model(str(tmp_path / "theirs"))
    assert_same_logits(model, network)
    save_model(load_saved(str(tmp_path / "theirs")), tmp_path / "ours")
    again = open_model(tmp_path / "ours").network
    wave = waves()[0]
    with torch.no_grad():
        assert torch.equal(again(wave).logits, network(wave).logits)


KOREAN = {"<pad>": 0, "<unk>": 1, "|": 2, "가": 3, "나": 4, "다": 5, "라": 6}
ENGLISH = {"<pad>": 0, "<unk>": 1, "|": 2} | {letter: 3 + place for place, letter in enumerate("abcdefgh")}


def mms_folder(folder: Path) -> Any:
    """Save an MMS as the hub has it: English inside, Korean and Japanese beside it, a vocabulary for each."""
    model = theirs(folder, "mms")
    for code, size in (("kor", len(KOREAN)), ("jpn", 5)):
        other = theirs(folder / "other", "mms", vocab_size=size)
        torch.manual_seed(size)
        weights = {name: value + 0.3 * torch.randn_like(value) for name, value in other._get_adapters().items()}
        save_file({name: value.contiguous() for name, value in weights.items()}, folder / f"adapter.{code}.safetensors")
    vocabulary = {"eng": ENGLISH, "kor": KOREAN, "jpn": {"<pad>": 0, "<unk>": 1, "|": 2, "あ": 3, "い": 4}}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    told = {"target_lang": "eng", "pad_token": "<pad>", "unk_token": "<unk>", "word_delimiter_token": "|"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    return model


def test_mms_opens_with_the_adapter_of_korean_or_of_what_is_told(tmp_path: Path) -> None:
    english = mms_folder(tmp_path)
    korean = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path, target_lang="kor", ignore_mismatched_sizes=True)
    assert_same_logits(korean.eval(), load_model(str(tmp_path)))
    assert load_saved(str(tmp_path)).symbols["letters"].symbols == ("<pad>", "<unk>", " ", "가", "나", "다", "라")
    wave = 0.1 * np.random.default_rng(0).normal(size=32000).astype(np.float32)
    text = load_recognizer(str(tmp_path)).transcribe(wave, DecodingOptions(beam=1, vad=False), sample_rate=16000).text
    assert text and set(text) <= set("가나다라 ")
    (tmp_path / "adapter.kor.safetensors").unlink()  # Japanese is the only one now
    assert load_saved(str(tmp_path)).symbols["letters"].symbols[3:] == ("あ", "い")
    (tmp_path / "adapter.jpn.safetensors").unlink()  # what stands in the weights, whose language is told
    assert_same_logits(english, load_model(str(tmp_path)))
    assert load_saved(str(tmp_path)).symbols["letters"].symbols[3:5] == ("a", "b")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"vocab.json has no language 'None'; it has eng, jpn, kor"):
        load_model(str(tmp_path))


def test_what_was_not_taught_letters_and_what_is_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    sizes = {name: value for name, value in TINY.items() if not name.startswith(("codevector", "proj", "num_code"))}
    transformers.HubertModel(transformers.HubertConfig(**sizes)).save_pretrained(tmp_path / "bare")
    with pytest.raises(ModelError, match="a hubert that writes no letters"):
        load_model(str(tmp_path / "bare"))
    for kind in ("fastspeech2_conformer", "fastspeech2_conformer_with_hifigan", "wav2vec2-conformer", "speecht5"):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
        save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
        with pytest.raises(ModelError, match=f"model_type '{kind}' is none of malsori's; known: .*hubert.*wavlm"):
            load_model(str(folder))
