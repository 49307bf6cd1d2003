"""Another pitch: as many semitones as were asked for, as long as before, and the noise where it was."""

import numpy as np
import pytest

from malsori.audio.pitch import pitch_hz
from malsori.audio.psola import shift_pitch
from malsori.config import AudioConfig

AUDIO = AudioConfig()
RATE = AUDIO.sample_rate


@pytest.fixture(scope="module")
def vowel() -> np.ndarray:
    """A breath of noise, then a vowel with one formant whose pitch rises and falls by half an octave."""
    time = np.arange(RATE) / RATE
    hertz = 180 * 2 ** (0.3 * np.sin(2 * np.pi * 1.5 * time))
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = sum(np.cos(k * phase + k) * np.exp(-(((k * hertz - 700) / 500) ** 2)) for k in range(1, 30))
    wave *= 0.5 / np.abs(wave).max()
    wave[: RATE // 4] = np.random.default_rng(0).normal(0, 0.02, RATE // 4)
    return wave.astype(np.float32)


@pytest.mark.parametrize("semitones", [-12.0, -5.0, -1.0, 1.0, 5.0, 12.0])
def test_the_pitch_is_shifted_by_what_was_asked_for(vowel: np.ndarray, semitones: float) -> None:
    shifted = shift_pitch(vowel, AUDIO, semitones)
    before, after = pitch_hz(vowel, AUDIO), pitch_hz(shifted, AUDIO)
    voiced = (before > 0) & (after > 0)
    cents = 1200 * np.log2(after[voiced] / before[voiced]) - 100 * semitones
    assert abs(np.median(cents)) < 10 and np.percentile(np.abs(cents), 90) < 60
    assert len(shifted) == len(vowel) and voiced.sum() > 0.9 * (before > 0).sum()
    assert np.square(shifted).mean() == pytest.approx(np.square(vowel).mean(), rel=0.2)


def test_the_formant_stays_where_it_is(vowel: np.ndarray) -> None:
    def centroid(wave: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(wave[RATE // 3 :])) ** 2
        return float((np.fft.rfftfreq(len(wave) - RATE // 3, 1 / RATE) * power).sum() / power.sum())

    assert centroid(shift_pitch(vowel, AUDIO, 7.0)) == pytest.approx(centroid(vowel), rel=0.1)


def test_what_has_no_pitch_and_what_is_not_shifted_come_back_as_they_were(vowel: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    assert np.array_equal(shift_pitch(vowel, AUDIO, 0.0), vowel)
    kept = shift_pitch(vowel, AUDIO, 4.0)[: RATE // 5]
    assert np.corrcoef(kept, vowel[: RATE // 5])[0, 1] > 0.9
    assert len(shift_pitch(noise, AUDIO, 3.0)) == len(noise) and len(shift_pitch(noise[:10], AUDIO, 3.0)) == 10
