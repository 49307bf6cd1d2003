"""Whisper against transformers' own: the same logits, the same words, the same sound of it; and its memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from malsori import load_model
from malsori.audio.mel import whisper_log_mel
from malsori.config import WHISPER_AUDIO
from malsori.errors import ModelError
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.folder import save_model
from malsori.pretrained.hub import load_saved, open_folder

TINY = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 40, "vocab_size": 100, "max_source_positions": 60,
    "max_target_positions": 220, "num_mel_bins": 20,
}  # fmt: skip
IDS = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1}


def theirs(folder: Path, **sizes: Any) -> Any:
    """Save transformers' Whisper with random weights that are not timid, and return it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**(IDS | sizes))).eval()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spread = 3 / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 0.2
            parameter.data.add_(torch.randn_like(parameter) * (0.02 if "embed" in name else spread))
    model.save_pretrained(folder)
    return model


def assert_same_logits(model: Any, network: Whisper, tokens: int = 9, batch: int = 2) -> None:
    config, random = network.config, torch.Generator().manual_seed(1)
    mel = torch.randn(batch, config.window_frames, config.mel_channels, generator=random)
    ids = torch.randint(0, config.vocab, (batch, tokens), generator=random)
    with torch.no_grad():
        wanted = model(input_features=mel.transpose(1, 2), decoder_input_ids=ids).logits
        found = network(mel, ids).logits
    assert (found - wanted).abs().max() / wanted.abs().max() < 1e-4
    assert wanted.std() > 0.1


def assert_same_words(model: Any, network: Whisper, steps: int) -> None:
    config, random = network.config, torch.Generator().manual_seed(2)
    mel = torch.randn(1, config.window_frames, config.mel_channels, generator=random)
    ids = torch.tensor([[1, 2, 3]])
    found = network.infer(mel, ids, steps)
    with torch.no_grad():
        encoded = model.model.encoder(mel.transpose(1, 2))
        past, new, wanted = None, ids, ids
        for _ in range(steps):
            output = model(encoder_outputs=encoded, decoder_input_ids=new, past_key_values=past, use_cache=True)
            past, new = output.past_key_values, output.logits[:, -1:].argmax(-1)
            wanted = torch.cat([wanted, new], 1)
    assert torch.equal(found, wanted)
    assert len(set(found[0].tolist())) > 5  # it does not hum one word


@pytest.mark.parametrize(
    "sizes",
    [{}, {"encoder_layers": 4, "decoder_layers": 1, "num_mel_bins": 128}],
    ids=["as many", "distilled, 128 mels"],
)
def test_a_folder_of_transformers_gives_the_same_logits_and_the_same_200_words(tmp_path: Path, sizes: Any) -> None:
    model = theirs(tmp_path, **(TINY | sizes))
    network = load_model(str(tmp_path))
    assert isinstance(network, Whisper) and not network.training
    assert_same_logits(model, network)
    assert_same_words(model, network, 200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "layers", "heads", "mel_channels"), [(384, 4, 6, 80), (768, 12, 12, 80), (1280, 2, 20, 128)]
)
def test_real_widths_give_the_same_logits_and_words(
    features: int, layers: int, heads: int, mel_channels: int, tmp_path: Path
) -> None:
    sizes = {
        "d_model": features, "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": heads,
        "decoder_attention_heads": heads, "encoder_ffn_dim": 4 * features, "decoder_ffn_dim": 4 * features,
        "num_mel_bins": mel_channels, "vocab_size": 51866 if mel_channels == 128 else 51865,
    }  # fmt: skip
    model = theirs(tmp_path, **sizes)
    network = load_model(str(tmp_path))
    assert_same_logits(model, network, batch=1)
    assert_same_words(model, network, 200)


@pytest.mark.parametrize("mel_channels", [80, 128])
@pytest.mark.parametrize("samples", [16000, 50123, 480000])
def test_the_mel_is_that_of_the_checkpoints_own_feature_extractor(mel_channels: int, samples: int) -> None:
    transformers = pytest.importorskip("transformers")
    wave = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    wave[: samples // 3] *= np.sin(np.arange(samples // 3, dtype=np.float32) / 20)
    extractor = transformers.WhisperFeatureExtractor(feature_size=mel_channels)
    wanted = extractor(wave, sampling_rate=16000, return_tensors="pt").input_features.transpose(1, 2)
    audio = WHISPER_AUDIO.model_copy(update={"mel_channels": mel_channels})
    found = whisper_log_mel(torch.from_numpy(wave)[None], audio, 3000)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    alone = whisper_log_mel(torch.from_numpy(wave)[None], audio)
    assert alone.shape == (1, samples // 160, mel_channels)


def test_the_checkpoints_settings_and_files_stay_with_the_model(tmp_path: Path) -> None:
    theirs(tmp_path / "public", **TINY)
    (tmp_path / "public" / "preprocessor_config.json").write_text('{"sampling_rate": 22050, "n_fft": 512}')
    (tmp_path / "public" / "merges.txt").write_text("a b\n")
    saved = load_saved(str(tmp_path / "public"))
    assert saved.facts.audio.sample_rate == 22050 and saved.facts.audio.fft_samples == 512
    assert saved.facts.audio.mel_channels == 20 and saved.facts.system == "whisper"
    save_model(saved, tmp_path / "ours")
    again = open_folder(tmp_path / "ours")
    assert again.facts == saved.facts and again.files == saved.files and again.files["merges.txt"] == b"a b\n"
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name


def test_a_checkpoint_that_is_not_quite_a_whisper_is_refused(tmp_path: Path) -> None:
    theirs(tmp_path, **TINY, activation_function="relu")
    with pytest.raises(ModelError, match="activation_function is 'relu'; a Whisper has 'gelu'"):
        load_saved(str(tmp_path))


def small(**more: Any) -> Whisper:
    """Return a tiny network with random weights that are not timid."""
    torch.manual_seed(3)
    network = Whisper(
        WhisperConfig(
            vocab=30, mel_channels=10, hidden_size=16, num_encoder_layers=1, num_encoder_heads=2, encoder_ffn_size=24,
            encoder_positions=20, num_decoder_layers=2, num_decoder_heads=2, decoder_ffn_size=24,
            decoder_positions=12, **more,
        )
    )  # fmt: skip
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3)
    return network.eval()


def test_the_cache_changes_no_logit() -> None:
    network, random = small(), torch.Generator().manual_seed(0)
    mel, ids = torch.randn(3, 40, 10, generator=random), torch.randint(0, 30, (3, 9), generator=random)
    lengths = torch.tensor([40, 31, 12])
    with torch.no_grad():
        wanted = network(mel, ids, lengths).logits
    state, found = network.start(mel, lengths), []
    for piece in ids.split([2, 1, 4, 2], dim=1):
        logits, state = state.step(piece)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, 1), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sounds", [1, 3])
def test_rows_of_a_state_are_selected_with_all_they_hold(sounds: int) -> None:
    network, random = small(), torch.Generator().manual_seed(0)
    mel = torch.randn(sounds, 40, 10, generator=random)
    said = torch.randint(0, 30, (3, 4), generator=random)
    rows, more = torch.tensor([2, 0, 2, 1]), torch.randint(0, 30, (4, 2), generator=random)
    _, state = network.start(mel).step(said)
    found, _ = state.select(rows).step(more)
    with torch.no_grad():
        wanted = network(mel.expand(3, -1, -1)[rows], torch.cat([said[rows], more], 1)).logits[:, 4:]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_texts_that_go_on_from_one_state_do_not_change_one_another() -> None:
    network, mel = small(), torch.randn(1, 40, 10)
    _, state = network.start(mel).step(torch.tensor([[1, 2]]))
    one, another = torch.tensor([[3], [4]]), torch.tensor([[5], [6]])
    both = state.select(torch.tensor([0, 0]))
    first, after = both.step(one)
    second, _ = both.step(another)  # from the same state, after the first has written behind it
    third, _ = after.step(one)
    with torch.no_grad():
        for texts, found in ((one, first), (another, second)):
            wanted = network(mel.expand(2, -1, -1), torch.cat([torch.tensor([[1, 2]] * 2), texts], 1)).logits[:, -1:]
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
        wanted = network(mel.expand(2, -1, -1), torch.cat([torch.tensor([[1, 2]] * 2), one, one], 1)).logits[:, -1:]
        torch.testing.assert_close(third, wanted, atol=1e-5, rtol=1e-4)


def test_attention_says_where_each_head_looks_and_nowhere_behind_the_sound() -> None:
    network, mel = small(), torch.randn(2, 40, 10)
    ids, lengths = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([40, 21])
    logits, weights = network.start(mel, lengths).score(ids, ((1, 0), (0, 1), (1, 1)))
    torch.testing.assert_close(logits, network.start(mel, lengths).step(ids)[0])
    assert weights.shape == (2, 3, 3, 20)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 3))
    assert (weights[1, :, :, 11:] == 0).all()
    _, alone = network.start(mel[:1]).score(ids[:1], ((0, 1),))
    torch.testing.assert_close(alone[0, 0], weights[0, 1])


def test_more_than_the_window_or_the_positions_is_refused() -> None:
    network = small()
    with pytest.raises(ValueError, match="a mel of 42 frames; the window has 40: cut the sound"):
        network(torch.zeros(1, 42, 10), torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="13 tokens; there are positions for 12"):
        network(torch.zeros(1, 40, 10), torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match="13 tokens"):
        network.infer(torch.zeros(1, 40, 10), torch.zeros(1, 2, dtype=torch.long), 12)
