"""Log-mels of arrays are those that PyTorch gives of batches."""

import numpy as np
import pytest
import torch

from malsori.audio.mel import log_mel, whisper_log_mel
from malsori.audio.mel_filters import log_mel_array, whisper_log_mel_array
from malsori.config import RECOGNITION_AUDIO, WHISPER_AUDIO, AudioConfig


def tones(samples: int) -> np.ndarray:
    time = np.arange(samples) / 16000
    noise = np.random.default_rng(samples).normal(0, 0.01, samples)
    return (0.3 * np.sin(2 * np.pi * 440 * time) * (time % 0.5 < 0.3) + noise).astype(np.float32)


@pytest.mark.parametrize("convention", ["hifigan", "tacotron2", "speecht5"])
@pytest.mark.parametrize("samples", [600, 16000, 30001])
def test_log_mels_are_the_same_as_those_of_batches(convention, samples):
    for audio in (AudioConfig(convention=convention), RECOGNITION_AUDIO.model_copy(update={"convention": convention})):
        wanted = log_mel(torch.from_numpy(tones(samples))[None], audio)[0].numpy()
        found = log_mel_array(tones(samples), audio)
        assert found.dtype == np.float32 and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_a_wave_that_cannot_be_reflected_is_refused_as_there():
    for measure in (
        lambda: log_mel_array(tones(300), AudioConfig()),
        lambda: log_mel(torch.zeros(1, 300), AudioConfig()),
    ):
        with pytest.raises(ValueError, match="a wave of 300 samples is too short: more than 384 are needed"):
            measure()


@pytest.mark.parametrize(("samples", "window"), [(16000, 0), (16000, 300), (31999, 0)])
def test_whispers_log_mels_are_the_same_as_those_of_batches(samples, window):
    wanted = whisper_log_mel(torch.from_numpy(tones(samples))[None], WHISPER_AUDIO, window)[0].numpy()
    found = whisper_log_mel_array(tones(samples), WHISPER_AUDIO, window)
    assert found.dtype == np.float32 and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-4)
