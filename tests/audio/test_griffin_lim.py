"""Griffin-Lim: the wave it finds has the spectrogram it was given."""

import numpy as np
import pytest
import torch

from malsori.audio.griffin_lim import griffin_lim, linear_magnitude
from malsori.audio.mel import log_mel
from malsori.audio.mel_filters import mel_filters
from malsori.config import RECOGNITION_AUDIO, AudioConfig

CONFIGS = [AudioConfig(), RECOGNITION_AUDIO]


def buzz(audio: AudioConfig, batch: int = 1) -> torch.Tensor:
    """A buzz on noise, which fills every band."""
    time = torch.arange(audio.hop_samples * 60) / audio.sample_rate
    harmonics = sum(torch.sin(2 * torch.pi * 150 * k * time) / k for k in range(1, 20))
    noise = 0.05 * torch.randn(batch, len(time), generator=torch.Generator().manual_seed(0))
    return 0.2 * harmonics[None] + noise


@pytest.mark.parametrize("audio", CONFIGS)
def test_the_spectrogram_of_the_wave_is_the_one_asked_for(audio: AudioConfig) -> None:
    wanted = log_mel(buzz(audio), audio)
    found = log_mel(griffin_lim(wanted, audio), audio)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().mean() < 0.25


@pytest.mark.parametrize("audio", CONFIGS)
def test_linear_magnitude_is_non_negative_and_folds_back_into_the_mel_bands(audio: AudioConfig) -> None:
    wanted = log_mel(buzz(audio), audio)
    linear = linear_magnitude(wanted, audio)
    assert (linear >= 0).all()
    again = (linear @ torch.from_numpy(mel_filters(audio)).T).clamp(min=audio.log_floor).log()
    assert (again - wanted).abs().mean() < 0.02


def test_the_same_spectrogram_gives_the_same_wave_alone_and_in_a_batch() -> None:
    audio = AudioConfig()
    wanted = log_mel(buzz(audio, batch=2), audio)
    assert torch.equal(griffin_lim(wanted, audio, 5), griffin_lim(wanted, audio, 5))
    # The first phase is drawn row by row, so the first of a batch draws what it draws alone.
    assert torch.allclose(griffin_lim(wanted, audio, 5)[:1], griffin_lim(wanted[:1], audio, 5), atol=1e-4)


def test_more_rounds_come_nearer() -> None:
    audio = AudioConfig()
    wanted = log_mel(buzz(audio), audio)
    errors = [(log_mel(griffin_lim(wanted, audio, rounds), audio) - wanted).abs().mean() for rounds in (1, 10, 60)]
    assert np.all(np.diff(errors) < 0)


def test_silence_stays_silent() -> None:
    audio = AudioConfig()
    silence = torch.full((1, 20, audio.mel_channels), float(np.log(audio.log_floor)))
    assert griffin_lim(silence, audio, 3).abs().max() < 1e-3


@pytest.mark.parametrize("convention", ["hifigan", "tacotron2", "speecht5"])
def test_a_click_comes_back_where_it_was_and_as_loud(convention: str) -> None:
    audio = AudioConfig(convention=convention)
    wave = torch.zeros(1, 32 * audio.hop_samples)
    wave[0, 3000] = 1.0
    made = griffin_lim(log_mel(wave, audio), audio)
    assert made.shape == wave.shape
    middle = (made[0].square() * torch.arange(made.shape[1])).sum() / made.square().sum()
    assert abs(middle - 3000) < 64  # half a hop, the difference between the conventions, is 128
    assert 0.5 < made.square().sum() < 1.5
