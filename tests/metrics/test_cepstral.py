"""Mel-cepstral distortion: the seed's example, planted answers, properties."""

import numpy as np
import pytest
from scipy.signal import lfilter

from malsori.audio.io import load_audio
from malsori.errors import MetricError, OptionError
from malsori.metrics.cepstral import DECIBELS, mcd, mel_cepstral_distortion

SEED = [1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3]


def test_the_seeds_vectors_are_2_61_db_apart_with_c0_and_2_30_without():
    assert mel_cepstral_distortion(*SEED, include_c0=True) == pytest.approx(2.6058, abs=1e-4)
    assert mel_cepstral_distortion(*SEED) == pytest.approx(2.2981, abs=1e-4)


def test_a_distance_of_one_is_6_14_db():
    assert mel_cepstral_distortion([0.0, 0.0], [5.0, 1.0]) == pytest.approx(DECIBELS)
    assert pytest.approx(6.1418, abs=1e-4) == DECIBELS


def test_frames_are_averaged():
    assert mel_cepstral_distortion(np.zeros((2, 3)), [[9, 0, 1], [9, 0, 3]]) == pytest.approx(2 * DECIBELS)


@pytest.mark.parametrize("wrong", [np.zeros((2, 4)), np.zeros((0, 3)), [[1.0, 2.0, np.nan]]])
def test_cepstra_that_cannot_be_compared_are_told(wrong):
    with pytest.raises(MetricError, match="cepstra"):
        mel_cepstral_distortion(np.zeros((1, 3)) if np.size(wrong) else wrong, wrong)


def vowel(formants=(700, 1200, 2600), pitch=140.0, seconds=0.4, level=0.1, rate=22050):
    """Return a buzz through three resonances: a vowel of a known shape."""
    pulses = np.zeros(int(seconds * rate))
    pulses[:: int(rate / pitch)] = 1.0
    for formant in formants:
        radius, angle = np.exp(-np.pi * 100 / rate), 2 * np.pi * formant / rate
        pulses = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], pulses)
    return (level * pulses / pulses.std()).astype(np.float32)


@pytest.fixture(scope="module")
def utterance():
    return np.concatenate([vowel(), vowel((300, 2200, 2900)), vowel((350, 800, 2500), 150.0)])


def test_an_utterance_is_0_db_from_itself(utterance):
    assert mcd(utterance, utterance, 22050).mcd_db == 0.0


def test_reference_and_hypothesis_can_be_exchanged(utterance):
    other = np.concatenate([vowel((600, 1300, 2500)), vowel((320, 2100, 2800), 200.0)])
    assert mcd(utterance, other, 22050).mcd_db == pytest.approx(mcd(other, utterance, 22050).mcd_db, rel=1e-9)


def test_distortion_grows_with_noise(utterance):
    noise = np.random.default_rng(0).normal(size=len(utterance)).astype(np.float32)
    distances = [mcd(utterance, utterance + level * noise, 22050).mcd_db for level in (0.0, 0.02, 0.05, 0.1, 0.3)]
    assert distances == sorted(distances) and distances[1] > 0.1


def test_a_slower_reading_is_near_and_another_vowel_is_far():
    slow, other = vowel(seconds=0.8), vowel((300, 2200, 2900))
    assert mcd(vowel(), slow, 22050).mcd_db < 0.5 < 3.0 < mcd(vowel(), other, 22050).mcd_db


def test_pitch_leaves_less_trace_than_a_formant_does():
    higher, moved = vowel(pitch=190.0), vowel((850, 1200, 2600))
    assert mcd(vowel(), higher, 22050).mcd_db < mcd(vowel(), moved, 22050).mcd_db


def test_faint_silence_around_speech_does_not_count(utterance):
    hiss = 1e-4 * np.random.default_rng(0).normal(size=5000).astype(np.float32)
    padded = np.concatenate([hiss, utterance, hiss])
    assert mcd(padded, np.concatenate([hiss, utterance, 0 * hiss]), 22050).mcd_db < 0.05


def test_the_definition_goes_with_the_number(utterance):
    found = mcd(utterance, vowel(), 16000, order=20, include_c0=True)
    assert "order 20 with c0 at 16000 Hz, warping 0.410" in found.definition
    assert found.path_frames == len(found.hypothesis_frames) == len(found.frame_distortions_db)


@pytest.mark.parametrize(
    ("wave", "told"),
    [
        (np.zeros(0, np.float32), "0 samples"),
        (np.full(10, 0.1, np.float32), "lasts 0.0005 s"),
        (np.zeros(5000, np.float32), "silent"),
        (np.full(5000, np.nan, np.float32), "NaN"),
    ],
)
def test_waves_that_cannot_be_measured_are_told(utterance, wave, told):
    with pytest.raises(MetricError, match=told):
        mcd(utterance, wave, 22050)


def test_espnets_definition_is_told_where_it_does_not_reach(utterance):
    with pytest.raises(MetricError, match="8000 Hz"):
        mcd(utterance, utterance, 8000, preset="espnet")
    assert mcd(utterance, utterance, 22050, preset="espnet").mcd_db == 0.0


@pytest.mark.parametrize("preset", ["espnet", "pymcd"])
def test_what_another_tools_definition_has_of_its_own_cannot_be_asked_for(utterance, preset):
    with pytest.raises(OptionError, match=f"order 24: the definition of {preset} has its own"):
        mcd(utterance, utterance, 22050, preset=preset, order=24)
    with pytest.raises(OptionError, match="c0"):
        mcd(utterance, utterance, 22050, preset=preset, include_c0=True)


@pytest.mark.data
def test_pymcds_number_comes_out_where_its_parts_are_installed(data_folder):
    pytest.importorskip("pyworld", reason="pyworld is a peer, not a dependency")
    # pymcd 0.2.1 in "dtw" mode, measured once on these two recordings
    folder = data_folder / "emotiontts/Emotional/plain-to-emotional/ema/wav"
    waves = [load_audio(folder / f"{name}.flac", 22050) for name in ("ema00001", "ema00101")]
    assert mcd(*waves, 22050, preset="pymcd").mcd_db == pytest.approx(4.3069594, abs=1e-3)
