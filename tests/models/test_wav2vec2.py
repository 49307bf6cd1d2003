"""wav2vec 2.0 against transformers' own: the same logits, the same quantised targets and losses, the same features."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from malsori import load_model
from malsori.asr.encode import ctc_encoder
from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import load_recognizer
from malsori.errors import ConfigError, ModelError
from malsori.losses.distribution import contrastive_loss, diversity_loss
from malsori.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config, standardize_wave
from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.hub import load_saved
from malsori.train.wav2vec2 import draw_spans

TINY = {
    "conv_dim": (16,) * 7, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "vocab_size": 11, "codevector_dim": 16,
    "proj_codevector_dim": 12, "num_codevectors_per_group": 7,
}  # fmt: skip
STILL = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop"), 0.0
)
NORMS = {
    "group norm, norm after": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    "layer norm, norm before": {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}
LENGTHS = torch.tensor([8000, 5003])
norms = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def theirs(folder: Path, kind: str = "Wav2Vec2ForCTC", **settings: Any) -> Any:
    """Save transformers' model with random weights that are not timid, and return it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.Wav2Vec2Config(**settings)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.add_(torch.randn_like(parameter) * parameter[0].numel() ** -0.5)
    model.save_pretrained(folder)
    return model


def waves(lengths: torch.Tensor = LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of noise, 0 behind each length, and transformers' attention mask."""
    mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
    return torch.randn(mask.shape, generator=torch.Generator().manual_seed(1)) * mask, mask.long()


@torch.no_grad()
def assert_same_logits(model: Any, network: Wav2Vec2, lengths: torch.Tensor = LENGTHS) -> None:
    wave, mask = waves(lengths)
    for wanted, found in (
        (model(wave).logits, network(wave).logits),
        (model(wave, attention_mask=mask).logits, network(wave, lengths).logits),
    ):
        assert found.shape == wanted.shape and wanted.std() > 0.1
        assert (found - wanted).abs().max() / wanted.abs().max() < 1e-4


@norms
def test_a_folder_of_transformers_gives_the_same_logits_with_lengths_and_without(tmp_path: Path, norm) -> None:
    model = theirs(tmp_path, **TINY, **norm)
    network = load_model(str(tmp_path))
    assert isinstance(network, Wav2Vec2) and not network.training
    assert_same_logits(model, network)
    lengths = network(waves()[0], LENGTHS).frame_lengths
    assert torch.equal(lengths, model._get_feat_extract_output_lengths(LENGTHS))
    assert lengths.tolist() == [network.config.frames(length) for length in LENGTHS.tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["base", "xls-r-300m"])
def test_at_real_width_the_logits_are_the_same(tmp_path: Path, size: str) -> None:
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    norm = NORMS["layer norm, norm before"] | large if size == "xls-r-300m" else NORMS["group norm, norm after"]
    assert_same_logits(theirs(tmp_path, **norm), load_model(str(tmp_path)))


@norms
@pytest.mark.parametrize("spelling", ["weight_{}", "parametrizations.weight.original{}"])
def test_both_spellings_of_weight_norm_are_read(tmp_path: Path, norm, spelling: str) -> None:
    model = theirs(tmp_path, **TINY, **norm)
    path, stem = tmp_path / "model.safetensors", "wav2vec2.encoder.pos_conv_embed.conv."
    ends = ("g", "v") if spelling == "weight_{}" else ("0", "1")
    shapes = {(1, 1, 16): ends[0], (32, 8, 16): ends[1]}
    weights = load_file(path)
    for name in [name for name in weights if name.startswith(stem) and "weight" in name]:
        value = weights.pop(name)
        weights[stem + spelling.format(shapes[tuple(value.shape)])] = value
    save_file(weights, path)
    assert_same_logits(model, load_model(str(tmp_path)))


@norms
@pytest.mark.parametrize("training", [True, False])
def test_pre_training_compares_what_theirs_compares_at_the_same_cost(tmp_path: Path, norm, training: bool) -> None:
    model = theirs(tmp_path, "Wav2Vec2ForPreTraining", **TINY, **STILL, **norm).train(training)
    network = load_model(str(tmp_path)).train(training)
    wave, mask = waves()
    lengths = network.encoder.frame_lengths(LENGTHS)
    masked = draw_spans(lengths, 0.1, 4, 2)
    drawn = torch.randint(0, int(lengths.min()), (*masked.shape, 6))
    indices = drawn + torch.arange(2)[:, None, None] * masked.shape[1]
    torch.manual_seed(3)  # of the Gumbel noise
    model.quantizer.temperature = 1.3
    wanted = model(wave, attention_mask=mask, mask_time_indices=masked, sampled_negative_indices=indices)
    torch.manual_seed(3)
    found = network(wave, LENGTHS, masked, temperature=1.3)
    torch.testing.assert_close(found.context, wanted.projected_states, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.target, wanted.projected_quantized_states, atol=1e-5, rtol=1e-4)
    distractors = found.target[torch.arange(2)[:, None, None], drawn]
    contrast = contrastive_loss(found.context, found.target, distractors, masked) * masked.sum()
    torch.testing.assert_close(contrast, wanted.contrastive_loss, atol=1e-4, rtol=1e-4)
    if training:  # in evaluation theirs measures the choices, not their probabilities
        diversity = diversity_loss(found.probabilities, masked)
        torch.testing.assert_close(diversity * masked.sum(), wanted.diversity_loss, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close((1 - diversity) * 14, wanted.codevector_perplexity, atol=1e-4, rtol=1e-4)


def test_a_wave_is_standardized_as_their_feature_extractor_does() -> None:
    transformers = pytest.importorskip("transformers")
    extract = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    wave, _ = waves()
    loud = [(3 * row[:length] + 1).numpy() for row, length in zip(wave, LENGTHS.tolist(), strict=True)]
    wanted = extract(loud, sampling_rate=16000, padding=True, return_tensors="pt").input_values
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in loud], batch_first=True)
    torch.testing.assert_close(standardize_wave(batch, LENGTHS), wanted, atol=1e-5, rtol=1e-4)
    assert (standardize_wave(torch.zeros(1, 5), torch.tensor([5])) == 0).all()


SYLLABLES = {"가": 0, "나": 1, "다": 2, "|": 3, "마": 4, "[UNK]": 5, "바": 6, "사": 7, "아": 8, "[PAD]": 9, "자": 10}


def korean_folder(folder: Path, **settings: Any) -> Any:
    """A folder like kresnik/wav2vec2-large-xlsr-korean's: syllables, the blank not the first letter."""
    transformers = pytest.importorskip("transformers")
    model = theirs(folder, **(TINY | NORMS["layer norm, norm before"] | {"pad_token_id": 9} | settings))
    (folder / "vocab.json").write_text(json.dumps(SYLLABLES, ensure_ascii=False), encoding="utf-8")
    tokenizer = transformers.Wav2Vec2CTCTokenizer(folder / "vocab.json", pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return model, tokenizer


def test_a_recognizer_of_transformers_writes_their_words_with_their_times(tmp_path: Path) -> None:
    model, tokenizer = korean_folder(tmp_path)
    recognizer = load_recognizer(str(tmp_path))
    wave = 0.1 * np.random.default_rng(0).normal(size=48000).astype(np.float32)
    transcript = recognizer.transcribe(wave, DecodingOptions(beam=1, vad=False), sample_rate=16000)
    standard = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    with torch.no_grad():
        best = model(torch.from_numpy(standard)[None]).logits[0].argmax(-1)
    wanted = tokenizer.decode(best, output_word_offsets=True)
    words = [word for word in wanted.word_offsets if word["word"].replace("[UNK]", "")]
    assert len(words) > 3
    assert transcript.text == " ".join(word["word"].replace("[UNK]", "") for word in words)
    heard = [word for segment in transcript.segments for word in segment.words]
    for word, theirs_ in zip(heard, words, strict=True):
        if "[UNK]" not in theirs_["word"]:
            # a frame hears 25 ms and stands for the 20 ms in their middle
            assert word.start == pytest.approx(theirs_["start_offset"] * 0.02 + 0.0025)
            assert word.end == pytest.approx(theirs_["end_offset"] * 0.02 + 0.0025)
        assert 0 < word.confidence <= 1


def test_a_saved_folder_of_ours_hears_what_the_public_one_hears(tmp_path: Path) -> None:
    korean_folder(tmp_path / "theirs")
    public = load_saved(str(tmp_path / "theirs"))
    assert public.facts.model["blank"] == 9 and public.facts.model["padding_mask"]
    assert public.symbols["letters"].symbols[3:6] == (" ", "마", "[UNK]")
    save_model(public, tmp_path / "ours")
    wave = np.random.default_rng(1).normal(size=9000).astype(np.float32)
    once, again = (ctc_encoder(model).posteriors(wave) for model in (public, open_model(tmp_path / "ours")))
    assert np.array_equal(once.log_probs, again.log_probs) and once.blank == again.blank == 9


def test_what_is_missing_or_unknown_is_told(tmp_path: Path) -> None:
    theirs(tmp_path / "mute", **TINY)
    with pytest.raises(ModelError, match=r"no letters: is vocab.json missing"):
        load_recognizer(str(tmp_path / "mute"))
    theirs(tmp_path / "pretrained", "Wav2Vec2ForPreTraining", **TINY)
    with pytest.raises(ModelError, match=r"wav2vec2-pretrain is no recognizer"):
        load_recognizer(str(tmp_path / "pretrained"))
    theirs(tmp_path / "relu", **TINY, hidden_act="relu")
    with pytest.raises(ModelError, match="hidden_act is 'relu'"):
        load_model(str(tmp_path / "relu"))


@pytest.mark.parametrize("change", ["never masked", "saved without", "saved all the same"])
def test_a_mask_vector_is_there_when_it_was_learnt(tmp_path: Path, change: str) -> None:
    model = theirs(tmp_path, **TINY, mask_time_prob=0.0 if change == "never masked" else 0.05)
    path, name = tmp_path / "model.safetensors", "wav2vec2.masked_spec_embed"
    weights = load_file(path)
    assert (name in weights) == (change != "never masked")
    if change == "saved without":
        save_file({key: value for key, value in weights.items() if key != name}, path)
    if change == "saved all the same":
        config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
        (tmp_path / "config.json").write_text(json.dumps(config | {"mask_time_prob": 0.0}), encoding="utf-8")
    network = load_model(str(tmp_path))
    assert not network.config.masked
    assert_same_logits(model, network)


SMALLEST = {
    "conv_channels": (8, 8), "conv_kernel_sizes": (10, 4), "conv_strides": (5, 2), "hidden_size": 16, "num_layers": 1,
    "num_heads": 2,
    "ffn_size": 16, "position_kernel_size": 4, "position_groups": 2, "vocab": 5,
}  # fmt: skip


def test_sizes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[7, 7, 6\] conv_channels"):
        Wav2Vec2Config.parse({"conv_strides": [5, 2, 2, 2, 2, 2]}, "recipe")


def test_group_norm_hears_the_padding_and_layer_norm_does_not() -> None:
    wave, lengths = torch.randn(1, 400), torch.tensor([400])
    for norm, same in (("group", False), ("layer", True)):
        torch.manual_seed(0)
        network = Wav2Vec2(Wav2Vec2Config(**SMALLEST, norm=norm)).eval()
        alone = network.infer(wave, lengths).logits
        padded = network.infer(torch.nn.functional.pad(wave, (0, 200)), lengths).logits[:, : alone.shape[1]]
        assert torch.allclose(alone, padded, atol=1e-5) == same


def test_a_masked_frame_is_not_heard_but_guessed() -> None:
    torch.manual_seed(0)
    network = Wav2Vec2(Wav2Vec2Config(**SMALLEST, norm="layer")).eval()
    wave, other = torch.randn(2, 1, 400)
    everywhere = torch.ones(1, network.config.frames(400), dtype=torch.bool)
    once, again = (network(sound, None, everywhere).logits for sound in (wave, other))
    assert torch.equal(once, again) and not torch.equal(network(wave).logits, network(other).logits)
    channels = torch.arange(16)[None] < 16
    assert torch.equal(network(wave, None, None, channels).logits, network(other, None, None, channels).logits)
