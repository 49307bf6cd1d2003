"""Pitch and energy: planted contours come back, frame for frame."""

import itertools
import sys

import numpy as np
import pytest

from malsori.audio.autocorrelation import Candidates, PathCosts, best_path, track_pitch
from malsori.audio.io import load_audio
from malsori.audio.pitch import continuous_log_pitch, energy, pitch_hz
from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.errors import MissingExtraError

CONFIGS = [AudioConfig(), RECOGNITION_AUDIO]


def voice(hertz: np.ndarray, rate: int) -> np.ndarray:
    """A buzz of ten harmonics, falling 6 dB an octave as the glottis does."""
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    return (0.2 * sum(np.sin(k * phase) / k for k in range(1, 11))).astype(np.float32)


def middles(frames: int, audio: AudioConfig) -> np.ndarray:
    return np.arange(frames) * audio.hop_samples + audio.hop_samples // 2


@pytest.mark.parametrize("audio", CONFIGS)
@pytest.mark.parametrize(("low", "high"), [(80, 160), (150, 350), (300, 500)])
def test_pitch_follows_a_rising_voice_within_one_percent(audio: AudioConfig, low: int, high: int) -> None:
    truth = np.linspace(low, high, audio.sample_rate)
    found = pitch_hz(voice(truth, audio.sample_rate), audio)
    inner = slice(5, -5)
    assert np.abs(found / truth[middles(len(found), audio)] - 1)[inner].max() < 0.01


@pytest.mark.parametrize("audio", CONFIGS)
def test_pitch_frames_stand_where_mel_frames_stand(audio: AudioConfig) -> None:
    """A step in pitch is found in its own frame: an offset of one frame would show."""
    rate, step = audio.sample_rate, 60 * audio.hop_samples
    found = pitch_hz(voice(np.where(np.arange(rate) < step, 120.0, 180.0), rate), audio)
    nearer_to_high = np.abs(found - 180) < np.abs(found - 120)
    assert abs(int(nearer_to_high.argmax()) - 60) <= 1 and nearer_to_high[62:-5].all()


@pytest.mark.parametrize("audio", CONFIGS)
@pytest.mark.parametrize("extra", [0, 1, 17, 159, 255])
@pytest.mark.parametrize("hops", [0, 1, 2, 33, 100])
def test_there_is_one_pitch_a_hop_whatever_the_length(audio: AudioConfig, hops: int, extra: int) -> None:
    samples = hops * audio.hop_samples + min(extra, audio.hop_samples - 1)
    assert pitch_hz(voice(np.full(samples, 200.0), audio.sample_rate), audio).shape == (hops,)


@pytest.mark.parametrize("audio", CONFIGS)
def test_noise_and_silence_have_no_pitch(audio: AudioConfig) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, audio.sample_rate).astype(np.float32)
    assert (pitch_hz(noise, audio) > 0).mean() < 0.1
    assert not pitch_hz(np.zeros(audio.sample_rate, dtype=np.float32), audio).any()


def test_the_second_pass_leaves_no_octave_errors() -> None:
    audio = AudioConfig()
    truth = 120 * 2 ** (0.4 * np.sin(np.arange(2 * audio.sample_rate) / audio.sample_rate * 5))
    found = pitch_hz(voice(truth, audio.sample_rate), audio)
    octaves = np.abs(np.log2(found[found > 0] / truth[middles(len(found), audio)][found > 0]))
    assert octaves.max() < 0.5


@pytest.mark.data
def test_our_pitch_is_praats_within_a_cent_on_real_voices(data_folder) -> None:
    pytest.importorskip("parselmouth", reason="Praat is an extra")
    audio, known = AudioConfig(), {path.stem: path for path in (data_folder / "emotiontts").rglob("*.flac")}
    ours, praats = [], []
    for name in ("kih00029", "lmy01001", "kih00071", "lmy02072"):  # a man's and a woman's
        wave = load_audio(known[name], audio.sample_rate)
        ours.append(pitch_hz(wave, audio))
        praats.append(pitch_hz(wave, audio, "praat"))
    one, other = np.concatenate(ours), np.concatenate(praats)
    both = (one > 0) & (other > 0)
    cents = np.abs(1200 * np.log2(one[both] / other[both]))
    assert np.median(cents) < 1 and (cents < 300).mean() > 0.995
    assert ((one > 0) != (other > 0)).mean() < 0.01


def test_pitch_does_not_depend_on_how_many_frames_are_worked_on_at_a_time(monkeypatch) -> None:
    wave = voice(np.linspace(120, 240, 22050), 22050)
    whole = track_pitch(wave, 22050, 256, 60.0, 700.0)
    monkeypatch.setattr("malsori.audio.autocorrelation._FRAMES_AT_ONCE", 7)
    assert np.allclose(track_pitch(wave, 22050, 256, 60.0, 700.0), whole)


def test_the_cheapest_path_is_that_of_brute_force() -> None:
    random = np.random.default_rng(3)
    costs, frames = PathCosts(), 5
    hertz = np.column_stack([np.zeros(frames), random.uniform(80, 400, (frames, 2))])
    strength = random.uniform(0, 1, (frames, 3))

    def score(path: tuple[int, ...]) -> float:
        total = sum(strength[frame, choice] for frame, choice in enumerate(path))
        for frame in range(1, frames):
            one, other = hertz[frame - 1, path[frame - 1]], hertz[frame, path[frame]]
            if (one > 0) != (other > 0):
                total -= costs.voicing_change_cost * 2  # frames of 5 ms
            elif one > 0:
                total -= costs.octave_jump_cost * 2 * abs(np.log2(one / other))
        return total

    best = max(itertools.product(range(3), repeat=frames), key=score)
    found = best_path(Candidates(hertz, strength), costs, 0.005)
    assert found.tolist() == [hertz[frame, choice] for frame, choice in enumerate(best)]


def test_praat_is_asked_for_by_name_and_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(MissingExtraError, match=r"Praat's pitch needs parselmouth.*pip install 'malsori\[praat\]'"):
        pitch_hz(voice(np.full(22050, 200.0), 22050), AudioConfig(), "praat")


def test_continuous_pitch_is_straight_across_gaps_and_held_at_the_ends() -> None:
    found = continuous_log_pitch(np.array([0, 0, 100, 0, 0, 0, 200, 0], dtype=np.float32))
    expected = np.log([100, 100, 100, 0, 0, 0, 200, 200], where=[1, 1, 1, 0, 0, 0, 1, 1], out=np.zeros(8))
    expected[3:6] = np.interp([3, 4, 5], [2, 6], np.log([100, 200]))
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6)


def test_continuous_pitch_of_a_whisper_is_zero_throughout() -> None:
    assert not continuous_log_pitch(np.zeros(7, dtype=np.float32)).any()


def test_energy_is_the_norm_of_a_frame() -> None:
    log_mel = np.log(np.array([[3.0, 4.0], [0.6, 0.8]], dtype=np.float32))
    assert np.allclose(energy(log_mel), [5.0, 1.0])
