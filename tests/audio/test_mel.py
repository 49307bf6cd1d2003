"""The mel spectrogram against its definition, written out."""

import cmath
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.audio.mel import log_mel, natural_log, spectrogram
from malsori.audio.mel_filters import mel_filters
from malsori.config import RECOGNITION_AUDIO, AudioConfig

CONFIGS = [AudioConfig(), RECOGNITION_AUDIO, AudioConfig(min_hz=300.0, max_hz=3400.0, mel_channels=23)]
TINY = AudioConfig(sample_rate=8000, fft_samples=64, window_samples=48, hop_samples=16, mel_channels=8, max_hz=4000.0)


def mel_of(hz: float) -> float:
    """Slaney's scale: 15 mels to 1 kHz, each 200/3 Hz wide; then 27 from 1 to 6.4 kHz, each the same ratio."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def hz_of(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def written_out_filters(audio: AudioConfig) -> np.ndarray:
    """Triangles of area 1 between the neighbours' middles, value by value."""
    first, last = mel_of(audio.min_hz), mel_of(audio.max_hz)
    step = (last - first) / (audio.mel_channels + 1)
    filters = np.zeros((audio.mel_channels, audio.fft_samples // 2 + 1))
    for channel in range(audio.mel_channels):
        low, middle, high = (hz_of(first + step * (channel + edge)) for edge in range(3))
        for number in range(filters.shape[1]):
            hz = number * audio.sample_rate / audio.fft_samples
            rising, falling = (hz - low) / (middle - low), (high - hz) / (high - middle)
            filters[channel, number] = max(0.0, min(rising, falling)) * 2 / (high - low)
    return filters


@pytest.mark.parametrize("audio", CONFIGS)
def test_filters_are_slaneys_triangles(audio: AudioConfig) -> None:
    filters = mel_filters(audio)
    assert filters.dtype == np.float32
    np.testing.assert_allclose(filters, written_out_filters(audio), atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("audio", CONFIGS)
def test_filters_are_those_of_transformers(audio: AudioConfig) -> None:
    oracle = pytest.importorskip("transformers.audio_utils").mel_filter_bank(
        num_frequency_bins=audio.fft_samples // 2 + 1,
        num_mel_filters=audio.mel_channels,
        min_frequency=audio.min_hz,
        max_frequency=audio.max_hz,
        sampling_rate=audio.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    np.testing.assert_allclose(mel_filters(audio), oracle.T, atol=1e-6)


def test_a_spectrogram_is_the_sum_it_is_defined_by() -> None:
    wave = torch.randn(1, 160, generator=torch.Generator().manual_seed(0))
    found = spectrogram(wave, TINY)[0]
    assert found.shape == (10, 33)
    reflected = np.pad(wave[0].numpy().astype(float), 24, mode="reflect")  # (64 - 16) / 2 on each side
    for frame, number in ((0, 0), (0, 7), (4, 16), (9, 31)):
        total = 0j
        for place in range(48):  # the window of 48 stands in the middle of the 64
            weight = 0.5 - 0.5 * math.cos(2 * math.pi * place / 48)
            sample = reflected[frame * 16 + 8 + place]
            total += weight * sample * cmath.exp(-2j * math.pi * number * (8 + place) / 64)
        assert found[frame, number].item() == pytest.approx(math.sqrt(abs(total) ** 2 + 1e-9), rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(25, 400))
def test_frames_are_whole_hops_whatever_the_length(samples: int) -> None:
    assert spectrogram(torch.zeros(2, samples), TINY).shape == (2, samples // 16, 33)


def test_a_frame_is_centered_on_the_middle_of_its_own_hop() -> None:
    audio = AudioConfig()
    for frame in (10, 17):
        wave = torch.zeros(1, 40 * audio.hop_samples)
        wave[0, frame * audio.hop_samples + audio.hop_samples // 2] = 1.0
        level = spectrogram(wave, audio)[0].mean(1)
        assert level.argmax() == frame
        torch.testing.assert_close(level[frame - 1], level[frame + 1], rtol=1e-2, atol=1e-5)
        assert level[frame] == pytest.approx(1.0, rel=1e-2)  # the window's top is 1


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 4321.0])
def test_a_tone_is_loudest_in_the_band_around_it(hertz: float) -> None:
    audio = AudioConfig()
    time = torch.arange(60 * audio.hop_samples) / audio.sample_rate
    mel = log_mel(0.5 * torch.sin(2 * torch.pi * hertz * time)[None], audio)[0]
    step = mel_of(audio.max_hz) / (audio.mel_channels + 1)
    band = mel_of(hertz) / step - 1  # band 0's middle lies one step above the lowest edge
    assert abs(mel[30].argmax().item() - band) <= 1


def test_the_logarithm_is_natural_and_floored() -> None:
    audio = AudioConfig()
    wave = 0.1 * torch.randn(1, 60 * audio.hop_samples, generator=torch.Generator().manual_seed(0))
    louder = log_mel(2 * wave, audio) - log_mel(wave, audio)
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(2)), atol=1e-3, rtol=0)
    silence = log_mel(torch.zeros_like(wave), audio)
    # HiFi-GAN's 1e-9 under the root lifts silence above the floor in wide bands only
    assert silence.min().item() == pytest.approx(math.log(1e-5), abs=1e-5) and silence.max() < math.log(2e-5)


def test_a_batch_gives_what_each_wave_gives_alone() -> None:
    waves = torch.randn(3, 100 * 16, generator=torch.Generator().manual_seed(0))
    together = log_mel(waves, TINY)
    torch.testing.assert_close(together, torch.cat([log_mel(wave[None], TINY) for wave in waves]))


def test_a_wave_too_short_to_reflect_is_refused() -> None:
    with pytest.raises(ValueError, match="24 samples is too short: more than 24 are needed"):
        spectrogram(torch.zeros(1, 24), TINY)


@pytest.mark.parametrize("convention", ["hifigan", "tacotron2", "speecht5"])
def test_the_gradient_at_silence_is_finite(convention: str) -> None:
    wave = torch.zeros(1, 400, requires_grad=True)
    log_mel(wave, TINY.model_copy(update={"convention": convention})).sum().backward()
    assert wave.grad is not None and wave.grad.isfinite().all()


def test_what_was_first_measured_in_inference_can_be_trained_through() -> None:
    audio = AudioConfig(sample_rate=8000, fft_samples=64, window_samples=64, hop_samples=16, max_hz=3999.0)
    wave = torch.randn(1, 400)
    with torch.inference_mode():
        log_mel(wave, audio)
    wave.requires_grad_()
    log_mel(wave, audio).mean().backward()
    assert wave.grad is not None and wave.grad.abs().max() > 0


SPEECHT5 = AudioConfig(
    sample_rate=16000, min_hz=80.0, max_hz=7600.0, log_floor=1e-10, convention="speecht5"
)  # fmt: skip


def test_the_mel_of_speecht5_is_that_of_its_feature_extractor() -> None:
    transformers = pytest.importorskip("transformers")
    wave = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32))
    wave[4000:9000] = 0.0
    wanted = transformers.SpeechT5FeatureExtractor()(audio_target=wave.numpy(), sampling_rate=16000)["input_values"]
    found = log_mel(wave[None], SPEECHT5)
    assert found.shape[1] == 16000 // 256 and found.min() < -9.9
    np.testing.assert_allclose(found, np.asarray(wanted)[:, : found.shape[1]], atol=2e-3)


def test_the_mel_of_tacotron_2_is_that_of_speecht5_in_natural_logarithms() -> None:
    wave = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 8000)).astype(np.float32))
    natural = log_mel(wave, SPEECHT5.model_copy(update={"convention": "tacotron2"}))
    torch.testing.assert_close(natural, natural_log(log_mel(wave, SPEECHT5), SPEECHT5), atol=1e-3, rtol=1e-4)


def test_a_sound_that_can_hardly_be_heard_is_in_tacotron_2_s_mel_as_loud_as_its_spectrum() -> None:
    audio = AudioConfig(convention="tacotron2")
    wave = torch.from_numpy(np.random.default_rng(0).normal(0, 3e-5, (1, 8000)).astype(np.float32))
    spectrum = torch.stft(wave, 1024, 256, window=torch.hann_window(1024), return_complex=True).abs()
    wanted = (torch.from_numpy(mel_filters(audio)) @ spectrum).clamp(min=1e-5).log().mT
    found = log_mel(wave, audio)
    assert found.max() > audio.silence + 1.0
    torch.testing.assert_close(found, wanted[:, : found.shape[1]], atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("convention", ["hifigan", "tacotron2", "speecht5"])
def test_silence_has_the_value_that_the_settings_say(convention: str) -> None:
    audio = AudioConfig(convention=convention)
    silent = log_mel(torch.zeros(1, 4096), audio)
    assert silent.shape == (1, 16, 80)
    torch.testing.assert_close(silent, torch.full_like(silent, audio.silence))
