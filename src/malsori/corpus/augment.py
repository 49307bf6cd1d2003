"""Sound made harder to recognize: rooms, noise, another loudness and silence behind it, drawn anew each time."""

import functools
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from malsori.annotations import Float
from malsori.audio.io import SOUND_SUFFIXES, load_audio
from malsori.config import Config
from malsori.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
_SOUNDING = 1e-4  # an amplitude under it is no speech: the level of speech is measured without


class AugmentConfig(Config):
    """What is done to a recording before a recognizer is given it; nothing unless asked.

    noise: a folder of noises; noise_share: of the utterances that get one; snr_db: least and greatest level of the
        speech above it.
    rooms: a folder of impulse responses; room_share: of the utterances that sound in one.
    gain_db: least and greatest change of loudness.
    trailing_silence: least and greatest seconds behind the speech, so that a network trained on windows of one length
        learns where a sound ends at its own.
    """

    noise: str = ""
    noise_share: Share = 0.5
    snr_db: tuple[float, float] = (5.0, 30.0)
    rooms: str = ""
    room_share: Share = 0.3
    gain_db: tuple[float, float] = (0.0, 0.0)
    trailing_silence: tuple[Seconds, Seconds] = (0.0, 0.0)

    @model_validator(mode="after")
    def _agree(self) -> "AugmentConfig":
        for name, (low, high) in (("snr_db", self.snr_db), ("gain_db", self.gain_db)):
            if low > high:
                raise ValueError(f"{name}: {low} is greater than {high}; the lesser stands first")
        if self.trailing_silence[0] > self.trailing_silence[1]:
            raise ValueError(f"trailing_silence: {self.trailing_silence}; the lesser stands first")
        return self


def augment(
    wave: Float[np.ndarray, " samples"], rate: int, config: AugmentConfig, random: np.random.Generator
) -> Float[np.ndarray, " longer"]:
    """Return a wave as it would sound in a room, with silence behind it, among noise, at another loudness.

    What nothing is done to stays as it is; what is changed is clipped to [-1, 1].

    Raises: ConfigError if a folder holds no sound.
    """
    given = wave
    if config.rooms and random.random() < config.room_share and len(wave):
        wave = _in_room(wave, _draw(_sounds(config.rooms, rate), random))
    low, high = config.trailing_silence
    if high:
        wave = np.pad(wave, (0, round(random.uniform(low, high) * rate)))
    if config.noise and random.random() < config.noise_share and len(wave):
        wave = wave + _noise_below(wave, _draw(_sounds(config.noise, rate), random), config.snr_db, random)
    if config.gain_db != (0.0, 0.0):
        wave = wave * 10 ** (random.uniform(*config.gain_db) / 20)
    return given if wave is given else np.clip(wave, -1.0, 1.0).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _sounds(folder: str, rate: int) -> tuple[np.ndarray, ...]:
    """Return every sound in a folder at a rate. Raises: ConfigError if there is none."""
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in SOUND_SUFFIXES)
    if not paths:
        raise ConfigError(f"{folder}: holds no sound to augment with; name a folder of sound files")
    return tuple(load_audio(path, rate) for path in paths)


def _draw(sounds: tuple[np.ndarray, ...], random: np.random.Generator) -> np.ndarray:
    return sounds[int(random.integers(len(sounds)))]


def _in_room(wave: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the wave through a room, as long and as loud as before, the direct sound where it was."""
    direct, length = int(np.abs(response).argmax()), len(wave) + len(response) - 1
    size = 1 << (length - 1).bit_length()  # of the transforms: fast, and long enough that no end wraps round
    wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)[direct : direct + len(wave)]
    return wet * (_level(wave) / max(_level(wet), 1e-9))


def _noise_below(
    wave: np.ndarray, noise: np.ndarray, snr_db: tuple[float, float], random: np.random.Generator
) -> np.ndarray:
    """Return a piece of noise as long as the wave, so far below the level of what sounds in it."""
    piece = np.resize(np.roll(noise, -int(random.integers(len(noise)))), len(wave))
    sounding = wave[np.abs(wave) > _SOUNDING]
    wanted = _level(sounding) if len(sounding) else _SOUNDING
    return piece * (wanted / max(_level(piece), 1e-9) * 10 ** (-random.uniform(*snr_db) / 20))


def _level(wave: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
