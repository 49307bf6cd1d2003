"""Mel-cepstra against planted envelopes, SPTK's numbers, and the definition."""

import numpy as np
import pytest

from malsori.audio.cepstrum import mel_cepstrum, mel_cepstrum_of_spectrum, mel_warping, unbiased_mel_cepstrum


def envelope(cepstrum, warping, bins=513):
    """Return the log amplitude that a mel-cepstrum stands for, by its definition."""
    angles = np.linspace(0, np.pi, bins)
    bent = angles + 2 * np.arctan2(warping * np.sin(angles), 1 - warping * np.cos(angles))
    return np.cos(np.outer(bent, np.arange(len(cepstrum)))) @ cepstrum


@pytest.mark.parametrize(("rate", "constant"), [(16000, 0.410), (22050, 0.455), (24000, 0.466), (48000, 0.554)])
def test_the_warping_is_sptks_for_the_rate(rate, constant):
    assert mel_warping(rate) == pytest.approx(constant, abs=1e-9)


@pytest.mark.parametrize("warping", [0.0, 0.35, 0.455])
def test_a_planted_envelope_gives_its_cepstrum_back(warping):
    planted = np.random.default_rng(0).normal(size=9) / np.arange(1, 10)
    spectrum = 2 * envelope(planted, warping)[None]
    assert mel_cepstrum_of_spectrum(spectrum, 12, warping)[0] == pytest.approx(np.pad(planted, (0, 4)), abs=1e-3)
    assert unbiased_mel_cepstrum(np.exp(spectrum), 12, warping)[0] == pytest.approx(np.pad(planted, (0, 4)), abs=1e-3)


def test_unbiased_estimation_passes_the_middle_of_a_periodograms_power():
    generator = np.random.default_rng(1)
    planted = np.array([1.0, 0.8, -0.4, 0.2])
    power = np.exp(2 * envelope(planted, 0.41)) * generator.exponential(size=(400, 513))
    assert unbiased_mel_cepstrum(power, 3, 0.41).mean(axis=0) == pytest.approx(planted, abs=0.02)
    biased = mel_cepstrum_of_spectrum(np.log(power), 3, 0.41).mean(axis=0)
    assert planted[0] - biased[0] == pytest.approx(0.5772 / 2, abs=0.02)  # the mean of a logarithm is too low


def test_white_noise_is_flat_and_its_loudness_is_c0():
    noise = 0.5 * np.random.default_rng(0).normal(size=22050).astype(np.float32)
    mean = mel_cepstrum(noise, 22050).mean(axis=0)
    assert mean[0] == pytest.approx(np.log(0.5), abs=0.05) and np.abs(mean[1:]).max() < 0.05


def test_silence_is_flat_at_the_floor():
    cepstra = mel_cepstrum(np.zeros(4000, np.float32), 16000, order=10, floor_db=-40.0)
    assert cepstra.shape == (51, 11)
    assert cepstra[:, 0] == pytest.approx(np.log(10 ** (-40 / 20)), abs=1e-6) and np.abs(cepstra[:, 1:]).max() < 1e-9


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_a_frame_comes_every_5_ms_at_every_rate(rate):
    assert mel_cepstrum(np.random.default_rng(0).normal(size=rate).astype(np.float32), rate).shape == (201, 25)
