"""Sounds in which nobody speaks, each made by a formula: what a recognizer must write nothing for."""

from collections.abc import Callable

import numpy as np

RATE = 16000

Sound = Callable[[float, np.random.Generator], np.ndarray]


def make(kind: str, seconds: float = 12.0, seed: int = 0) -> np.ndarray:
    """Return a kind of sound, with a peak of at most 0.5."""
    wave = KINDS[kind](seconds, np.random.default_rng(seed))
    peak = np.abs(wave).max()
    return (wave * min(1.0, 0.5 / peak if peak else 1.0)).astype(np.float32)


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _white(seconds: float, random: np.random.Generator) -> np.ndarray:
    return random.normal(0, 0.1, round(seconds * RATE))


def _shaped(wave: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return a wave with a gain at each frequency, in Hz."""
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    return np.fft.irfft(np.fft.rfft(wave) * gain(hertz), len(wave))


def _band(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda hertz: np.exp(-((np.log2(np.maximum(hertz, 1) / np.sqrt(low * high)) / np.log2(high / low)) ** 2) * 2)


def _falling(power: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda hertz: np.maximum(hertz, 20.0) ** -power * 20.0**power


def _events(
    seconds: float, random: np.random.Generator, rate: float, sound: Callable[[np.random.Generator], np.ndarray]
) -> np.ndarray:
    """Return so many sounds a second, anywhere."""
    wave = np.zeros(round(seconds * RATE))
    for start in random.integers(0, len(wave), round(rate * seconds)):
        part = sound(random)[: len(wave) - start]
        wave[start : start + len(part)] += part
    return wave


def _burst(
    low: float, high: float, seconds: float, attack: float = 0.002
) -> Callable[[np.random.Generator], np.ndarray]:
    """Return what makes a burst of noise that dies away."""

    def sound(random: np.random.Generator) -> np.ndarray:
        time = _time(4 * seconds)
        shape = np.minimum(1, time / attack) * np.exp(-time / seconds)
        return _shaped(random.normal(0, random.uniform(0.3, 1.0), len(time)), _band(low, high)) * shape

    return sound


def _note(hertz: float, seconds: float, partials: int = 6) -> np.ndarray:
    time = _time(seconds)
    shape = np.minimum(1, time / 0.01) * np.exp(-3 * time / seconds)
    return shape * sum(np.sin(2 * np.pi * hertz * k * time) / k**1.5 for k in range(1, partials + 1))


def _chord(hertz: tuple[float, ...], seconds: float) -> np.ndarray:
    return sum((_note(one, seconds) for one in hertz), np.zeros(round(seconds * RATE)))


def _applause(seconds: float, random: np.random.Generator) -> np.ndarray:
    return _events(seconds, random, 120, _burst(700, 3000, 0.008)) * np.minimum(1, _time(seconds) / 2)


def _one_clapping(seconds: float, random: np.random.Generator) -> np.ndarray:
    clap, wave = _burst(800, 2500, 0.012), np.zeros(round(seconds * RATE))
    for start in np.arange(0.3, seconds - 0.2, 0.42):
        at = round((start + random.normal(0, 0.015)) * RATE)
        part = clap(random)[: len(wave) - at]
        wave[at : at + len(part)] += part
    return wave


def _rain(seconds: float, random: np.random.Generator) -> np.ndarray:
    drops = _events(seconds, random, 300, _burst(2000, 7000, 0.002, 0.0005))
    return drops + 0.6 * _shaped(_white(seconds, random), _band(800, 6000))


def _breath(seconds: float, random: np.random.Generator) -> np.ndarray:
    swell = np.maximum(0, np.sin(2 * np.pi * 0.45 * _time(seconds))) ** 1.5
    return _shaped(_white(seconds, random), _band(400, 2500)) * swell * 0.4


def _hum(seconds: float, _: np.random.Generator) -> np.ndarray:
    return sum(0.1 / k * np.sin(2 * np.pi * 60 * k * _time(seconds)) for k in (1, 2, 3, 5, 7))


def _fan(seconds: float, random: np.random.Generator) -> np.ndarray:
    blades = 1 + 0.3 * np.sin(2 * np.pi * 23 * _time(seconds))
    return _shaped(_white(seconds, random), _falling(1.0)) * blades + 0.2 * _hum(seconds, random)


def _chords(seconds: float, _: np.random.Generator) -> np.ndarray:
    tones = [(220.0, 277.2, 329.6), (196.0, 246.9, 293.7), (174.6, 220.0, 261.6), (164.8, 207.7, 246.9)]
    parts = [_chord(tones[number % 4], 1.5) for number in range(int(seconds / 1.5) + 1)]
    return np.concatenate(parts)[: round(seconds * RATE)]


def _melody(seconds: float, random: np.random.Generator) -> np.ndarray:
    scale = 261.6 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    parts = [_note(float(random.choice(scale)), 0.4) for _ in range(int(seconds / 0.4) + 1)]
    return np.concatenate(parts)[: round(seconds * RATE)]


def _violin(seconds: float, random: np.random.Generator) -> np.ndarray:
    """A melody with vibrato and many partials, each note bound to the next."""
    pitch = np.repeat(440 * 2 ** (random.integers(-5, 8, int(seconds / 0.7) + 1) / 12), round(0.7 * RATE))
    pitch = np.convolve(pitch, np.ones(800) / 800, "same")[: round(seconds * RATE)]
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * _time(seconds)))) / RATE
    return sum(np.sin(k * phase) / k for k in range(1, 10))


def _coughs(seconds: float, random: np.random.Generator) -> np.ndarray:
    def cough(random: np.random.Generator) -> np.ndarray:
        first, second = _burst(300, 2500, 0.06, 0.005)(random), _burst(250, 1200, 0.1, 0.02)(random)
        wave = np.zeros(max(len(first), len(second) + 1200))
        wave[: len(first)] += first
        wave[1200 : 1200 + len(second)] += 0.5 * second
        return wave

    return _events(seconds, random, 0.6, cough)


def _clicks(seconds: float, random: np.random.Generator) -> np.ndarray:
    return _events(seconds, random, 3, _burst(1500, 6000, 0.0008, 0.0002))


def _typing(seconds: float, random: np.random.Generator) -> np.ndarray:
    down, up = _burst(1500, 5000, 0.004), _burst(2500, 6000, 0.002)
    return _events(seconds, random, 6, lambda r: np.concatenate([down(r), 0.5 * up(r)]))


def _engine(seconds: float, random: np.random.Generator) -> np.ndarray:
    pitch = 35 + 8 * np.sin(2 * np.pi * 0.1 * _time(seconds)) + _shaped(_white(seconds, random), _band(0.5, 3)) * 4
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    fire = sum(np.sin(k * phase) / k**0.7 for k in range(1, 25))
    return 0.05 * fire + 0.3 * _shaped(_white(seconds, random), _falling(0.7))


def _birds(seconds: float, random: np.random.Generator) -> np.ndarray:
    def chirp(random: np.random.Generator) -> np.ndarray:
        time = _time(random.uniform(0.06, 0.2))
        low, high = random.uniform(2000, 4000), random.uniform(3000, 6500)
        phase = 2 * np.pi * np.cumsum(np.linspace(low, high, len(time)) + 200 * np.sin(60 * np.pi * time)) / RATE
        return np.sin(phase) * np.hanning(len(time))

    return _events(seconds, random, 4, chirp) + 0.02 * _white(seconds, random)


def _dial_tone(seconds: float, _: np.random.Generator) -> np.ndarray:
    time = _time(seconds)
    ringing = (time % 3) < 1
    return 0.2 * ringing * (np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time))


def _siren(seconds: float, _: np.random.Generator) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(900 + 500 * np.sin(2 * np.pi * 0.4 * _time(seconds))) / RATE
    return 0.3 * sum(np.sin(k * phase) / k for k in (1, 2, 3))


def _alarm(seconds: float, _: np.random.Generator) -> np.ndarray:
    time = _time(seconds)
    return 0.3 * np.sign(np.sin(2 * np.pi * 2000 * time)) * ((time % 0.5) < 0.2)


def _sea(seconds: float, random: np.random.Generator) -> np.ndarray:
    swell = 0.3 + 0.7 * np.sin(np.pi * 0.15 * _time(seconds)) ** 2
    return _shaped(_white(seconds, random), _falling(0.8)) * swell


def _footsteps(seconds: float, random: np.random.Generator) -> np.ndarray:
    wave = np.zeros(round(seconds * RATE))
    for start in np.arange(0.2, seconds - 0.5, 0.55):
        part = np.concatenate([_burst(80, 400, 0.03)(random), 0.4 * _burst(200, 1500, 0.03)(random)])
        at = round((start + random.normal(0, 0.02)) * RATE)
        part = part[: len(wave) - at]
        wave[at : at + len(part)] += part
    return wave


def _dog(seconds: float, random: np.random.Generator) -> np.ndarray:
    def bark(random: np.random.Generator) -> np.ndarray:
        time = _time(0.18)
        phase = 2 * np.pi * np.cumsum(np.linspace(600, 350, len(time)) * random.uniform(0.9, 1.1)) / RATE
        voice = sum(np.sin(k * phase) / k**0.6 for k in range(1, 8)) + random.normal(0, 0.7, len(time))
        return voice * np.hanning(len(time)) ** 0.5

    return _events(seconds, random, 0.9, bark)


def _drums(seconds: float, random: np.random.Generator) -> np.ndarray:
    wave = np.zeros(round(seconds * RATE))
    for number, start in enumerate(np.arange(0.1, seconds - 0.4, 0.25)):
        time = _time(0.3)
        kick = np.sin(2 * np.pi * np.cumsum(45 + 120 * np.exp(-time * 40)) / RATE) * np.exp(-12 * time)
        part = kick if number % 2 == 0 else _burst(1000, 7000, 0.04)(random)[: len(time)]
        at = round(start * RATE)
        wave[at : at + len(part)] += part[: len(wave) - at]
    return wave


#: Kind → what makes it.
KINDS: dict[str, Sound] = {
    "silence": lambda seconds, _: np.zeros(round(seconds * RATE)),
    "white noise": _white,
    "pink noise": lambda seconds, random: _shaped(_white(seconds, random), _falling(0.5)),
    "brown noise": lambda seconds, random: _shaped(_white(seconds, random), _falling(1.0)),
    "hum": _hum,
    "fan": _fan,
    "applause": _applause,
    "one person clapping": _one_clapping,
    "rain": _rain,
    "breath": _breath,
    "chords": _chords,
    "melody": _melody,
    "violin": _violin,
    "drums": _drums,
    "coughs": _coughs,
    "clicks": _clicks,
    "typing": _typing,
    "engine": _engine,
    "birds": _birds,
    "dog": _dog,
    "ringing tone": _dial_tone,
    "siren": _siren,
    "alarm": _alarm,
    "sea": _sea,
    "footsteps": _footsteps,
}
