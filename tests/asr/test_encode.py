"""From a wave to log-probabilities: times add up, whatever the rate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.asr.encode import encode
from malsori.audio.mel import log_mel
from malsori.config import RECOGNITION_AUDIO
from malsori.errors import AudioError, ModelError
from malsori.models.conformer import Conformer, ConformerConfig
from malsori.pretrained.folder import ModelFacts, SavedModel

from ..models.harness import saved
from ..models.subjects import VOCOS

SIZES = ConformerConfig(
    hidden_size=12, num_layers=2, num_heads=2, kernel_size=5, subsampling_channels=4, phoneme_ctc_layer=1
)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> SavedModel:
    torch.manual_seed(0)
    facts = ModelFacts(
        system="conformer",
        model=SIZES.model_dump(),
        audio=RECOGNITION_AUDIO,
        audio_fingerprint=RECOGNITION_AUDIO.fingerprint(),
    )
    return SavedModel(facts, {}, Conformer(SIZES).eval())


@settings(max_examples=20, deadline=None)
@given(st.integers(1600, 40000))
def test_frames_of_20_ms_cover_the_sound_and_begin_inside_it(model: SavedModel, samples: int) -> None:
    found = encode(model, noise(samples), 16000)
    assert found.frame_seconds == pytest.approx(0.02) and found.seconds == samples / 16000
    frames = len(found.loudness)
    assert found.jamo.shape == (frames, SIZES.jamo_vocab) and found.phonemes.shape == (frames, SIZES.phoneme_vocab)
    # whole 10 ms frames are encoded, begun ones are not; four of them are written as two, begun ones too
    assert found.seconds - 0.01 - 1e-9 <= frames * found.frame_seconds < found.seconds + 0.031


def test_loudness_stands_where_the_sound_does(model: SavedModel) -> None:
    wave = 1e-4 * noise(32000)
    wave[16000:19200] *= 1e4
    found = encode(model, wave, 16000)
    loud = np.flatnonzero(found.loudness > found.loudness.mean())
    assert abs(loud[0] - 50) <= 1 and abs(loud[-1] - 59) <= 1
    level = log_mel(torch.from_numpy(wave)[None], RECOGNITION_AUDIO)[0].mean(1)
    assert found.loudness[53] == pytest.approx(level[106].item())


def test_any_rate_is_resampled_to_the_recognizers_own(model: SavedModel) -> None:
    time = np.arange(44100) / 44100
    tone = (0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1234 * time)).astype(np.float32)
    here, there = encode(model, tone[::2], 22050), encode(model, tone, 44100)
    assert here.seconds == there.seconds == 1.0 and here.jamo.shape == there.jamo.shape == (50, SIZES.jamo_vocab)
    assert np.abs(here.loudness - there.loudness)[2:-2].max() < 0.3


def test_too_little_sound_is_refused(model: SavedModel) -> None:
    with pytest.raises(AudioError, match=r"0\.099 s of sound is too short to recognize; 0\.1 s are needed"):
        encode(model, noise(1590), 16000)
    with pytest.raises(AudioError, match=r"0\.000 s"):
        encode(model, noise(0), 16000)


def test_a_vocoder_has_no_phonemes() -> None:
    with pytest.raises(ModelError, match="a vocos has no phoneme output"):
        encode(saved(VOCOS, VOCOS.build()), noise(16000), 16000)
