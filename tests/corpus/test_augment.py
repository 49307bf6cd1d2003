"""Sound made harder to hear: as long, as loud and as noisy as the settings say, and the same for the same draw."""

import numpy as np
import pytest
import soundfile

from malsori.audio.io import save_audio
from malsori.corpus.augment import AugmentConfig, augment
from malsori.errors import ConfigError

RATE = 16000


def tone(seconds: float, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def drawn(wave: np.ndarray, config: AugmentConfig, seed: int = 0) -> np.ndarray:
    return augment(wave, RATE, config, np.random.default_rng(seed))


@pytest.fixture
def folder(tmp_path):
    """A folder of one noise, half a second of it, and one of one room: an echo after 50 ms, and 10 ms of lead."""
    noise = np.random.default_rng(1).normal(0, 0.2, RATE // 2)
    save_audio(tmp_path / "noise" / "hiss.wav", noise.astype(np.float32), RATE)
    room = np.zeros(RATE // 10, dtype=np.float32)
    room[RATE // 100], room[RATE // 100 + RATE // 20] = 0.8, 0.4
    save_audio(tmp_path / "rooms" / "echo.wav", room, RATE)
    return tmp_path


def test_nothing_is_done_unless_asked():
    np.testing.assert_array_equal(drawn(tone(1.0), AugmentConfig()), tone(1.0))


def test_silence_is_added_behind_within_its_bounds():
    config = AugmentConfig(trailing_silence=(0.2, 2.0))
    lengths = [len(drawn(tone(1.0), config, seed)) / RATE for seed in range(50)]
    assert min(lengths) >= 1.2 and max(lengths) <= 3.0 and max(lengths) - min(lengths) > 1.0
    np.testing.assert_array_equal(drawn(tone(1.0), config)[:RATE], tone(1.0))


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_lies_as_far_below_the_speech_as_asked_also_behind_it(folder, snr_db):
    config = AugmentConfig(
        noise=str(folder / "noise"), noise_share=1.0, snr_db=(snr_db, snr_db), trailing_silence=(1.0, 1.0)
    )
    heard = drawn(tone(1.0), config)
    noise = heard - np.pad(tone(1.0), (0, RATE))
    ratio = 20 * np.log10(np.std(tone(1.0)) / np.std(noise))
    assert ratio == pytest.approx(snr_db, abs=0.3)
    assert np.std(noise[RATE:]) == pytest.approx(np.std(noise[:RATE]), rel=0.1)


def test_a_room_echoes_and_keeps_time_length_and_loudness(folder):
    click = np.zeros(RATE, dtype=np.float32)
    click[RATE // 2] = 0.5
    wet = drawn(click, AugmentConfig(rooms=str(folder / "rooms"), room_share=1.0))
    assert len(wet) == len(click) and int(np.abs(wet).argmax()) == RATE // 2
    assert wet[RATE // 2 + RATE // 20] == pytest.approx(wet[RATE // 2] / 2, rel=1e-2)
    assert np.linalg.norm(wet) == pytest.approx(np.linalg.norm(click), rel=1e-3)


def test_a_room_is_the_convolution_with_its_response(folder):
    response, _ = soundfile.read(folder / "rooms" / "echo.wav", dtype="float32")
    wave = np.random.default_rng(2).normal(0, 0.05, 1999).astype(np.float32)
    wet = drawn(wave, AugmentConfig(rooms=str(folder / "rooms"), room_share=1.0))
    wanted = np.convolve(wave, response)[RATE // 100 :][: len(wave)]
    wanted *= np.linalg.norm(wave) / np.linalg.norm(wanted)
    np.testing.assert_allclose(wet, wanted, atol=1e-6)


def test_loudness_changes_within_its_bounds():
    config = AugmentConfig(gain_db=(-12.0, 3.0))
    changes = [20 * np.log10(np.std(drawn(tone(1.0), config, seed)) / np.std(tone(1.0))) for seed in range(50)]
    assert min(changes) >= -12.01 and max(changes) <= 3.01 and max(changes) - min(changes) > 8


def test_the_same_draw_gives_the_same_sound(folder):
    config = AugmentConfig(noise=str(folder / "noise"), rooms=str(folder / "rooms"), trailing_silence=(0.0, 1.0))
    np.testing.assert_array_equal(drawn(tone(1.0), config, 3), drawn(tone(1.0), config, 3))
    assert len(drawn(tone(1.0), config, 3)) != len(drawn(tone(1.0), config, 4))


def test_silence_and_nothing_stay_finite(folder):
    config = AugmentConfig(noise=str(folder / "noise"), rooms=str(folder / "rooms"), noise_share=1.0, room_share=1.0)
    for wave in (np.zeros(RATE, dtype=np.float32), np.zeros(0, dtype=np.float32)):
        assert np.isfinite(drawn(wave, config)).all()


def test_a_folder_without_sounds_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no sound"):
        drawn(tone(1.0), AugmentConfig(noise=str(tmp_path), noise_share=1.0))


@pytest.mark.parametrize(
    ("key", "value"), [("snr_db", (10.0, 5.0)), ("noise_share", 1.5), ("trailing_silence", (-1.0, 1.0))]
)
def test_settings_that_mean_nothing_are_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        AugmentConfig.parse({key: value}, "recipe.toml")
