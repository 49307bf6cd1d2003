"""Pitch trackers side by side: gross errors, voicing errors, cents and CPU time.

    python bench/pitch.py [--recordings 64] [--signals 24] [--data ../shared/data]

Three comparisons, every 10 ms: with Praat on real recordings, spread over all speakers of emotiontts; with the truth on
planted voices (glottal pulses through formants, with vibrato, jitter and noise); and with the truth on the same real
recordings, spoken again by WORLD with a known pitch: where most trackers heard a voice, the median of what they heard.
Trackers that are not installed are left out, and named. A gross error is one of more than 20 % in a frame voiced in
both; cents are of the other frames voiced in both; a voicing error is any frame that only one calls voiced. Times are
CPU seconds (all threads) per second of sound, loading and compiling aside.
"""

import argparse
import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from malsori.audio.io import load_audio
from malsori.audio.pitch import pitch_hz
from malsori.config import AudioConfig

RATE, HOP = 22050, 220
AUDIO = AudioConfig(fft_samples=1024 - 4, window_samples=1024 - 4, hop_samples=HOP)
LOWEST, HIGHEST = 60.0, 700.0
Tracker = Callable[[np.ndarray], np.ndarray]
#: A vowel's formants in Hz and their widths, about [a], [i], [u], [e].
VOWELS = ((800, 1200, 2600), (300, 2300, 3000), (330, 900, 2400), (500, 1900, 2600))
WIDTHS = (80, 100, 140)


def main() -> None:
    """Print every table for which there are trackers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=64)
    parser.add_argument("--signals", type=int, default=24)
    parser.add_argument("--data", type=Path, default=Path(__file__).parent.parent.parent / "shared" / "data")
    options = parser.parse_args()
    found = dict(trackers())
    waves = [load_audio(path, RATE) for path in recordings(options.data / "emotiontts", options.recordings)]
    warm_up(found, waves[0])
    heard, seconds = zip(*(listen(found, wave) for wave in waves), strict=True)
    length = sum(len(wave) for wave in waves) / RATE
    print(f"{len(waves)} recordings, {length:.0f} s, beside Praat:")
    if "praat" in found:
        table(found, [(one["praat"], one) for one in heard], {n: sum(s[n] for s in seconds) / length for n in found})
    for snr in (40, 20, 10):
        planted = [planted_voice(seed, snr) for seed in range(options.signals)]
        print(f"\n{len(planted)} planted voices, noise {snr} dB below:")
        table(found, [(truth, listen(found, wave)[0]) for wave, truth in planted])
    if importlib.util.find_spec("pyworld"):
        spoken = [spoken_again(wave, consensus(one)) for wave, one in zip(waves, heard, strict=True)]
        print(f"\n{len(spoken)} recordings spoken again by WORLD with a known pitch:")
        table(found, [(truth, listen(found, wave)[0]) for wave, truth in spoken])


def recordings(root: Path, most: int) -> list[Path]:
    """Return recordings spread evenly over the speakers: the first of each, then the second, and so on."""
    known = {path.stem: path for path in root.rglob("*.flac")}
    ids = sorted(name for path in (root / "splits").glob("*.txt") for name in path.read_text().split())
    speakers = [list(names) for _, names in itertools.groupby(ids, key=lambda name: name[:3])]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*speakers))
    return [known[name] for name in turns if name in known][:most]


def trackers() -> Iterator[tuple[str, Tracker]]:
    """Yield the trackers that are installed; each takes a wave and returns Hz a frame, 0 where unvoiced."""
    yield "malsori", lambda wave: pitch_hz(wave, AUDIO)
    peers = {"praat": "parselmouth", "swift-f0": "swift_f0", "pyin (librosa)": "librosa"}
    peers |= {"harvest (pyworld)": "pyworld", "dio+stonemask (pyworld)": "pyworld"}
    makers = {"praat": lambda: lambda wave: pitch_hz(wave, AUDIO, "praat"), "swift-f0": _swift, "pyin (librosa)": _pyin}
    makers |= {"harvest (pyworld)": lambda: _world("harvest"), "dio+stonemask (pyworld)": lambda: _world("dio")}
    for name, module in peers.items():
        if importlib.util.find_spec(module):
            yield name, makers[name]()
        else:
            print(f"{module} is not installed")


def _world(method: str) -> Tracker:
    import pyworld

    def find(wave: np.ndarray) -> np.ndarray:
        wave = wave.astype(np.float64)
        period = 500 * HOP / RATE
        hertz, times = getattr(pyworld, method)(wave, RATE, LOWEST, HIGHEST, frame_period=period)
        if method == "dio":
            hertz = pyworld.stonemask(wave, hertz, times, RATE)
        return at_frames(times, hertz, len(wave))

    return find


def _pyin() -> Tracker:
    import librosa

    def find(wave: np.ndarray) -> np.ndarray:
        hertz, voiced, _ = librosa.pyin(wave, fmin=LOWEST, fmax=HIGHEST, sr=RATE, hop_length=HOP // 2)
        times = np.arange(len(hertz)) * (HOP // 2) / RATE
        return at_frames(times, np.where(voiced, np.nan_to_num(hertz), 0.0), len(wave))

    return find


def _swift() -> Tracker:
    import swift_f0

    detector = swift_f0.SwiftF0(threads=1, spin=False)

    def find(wave: np.ndarray) -> np.ndarray:
        found = detector.detect(wave, RATE, LOWEST, HIGHEST)
        return at_frames(found.timestamps, np.where(found.confidence >= 0.5, found.pitch_hz, 0.0), len(wave))

    return find


def at_frames(times: np.ndarray, hertz: np.ndarray, samples: int) -> np.ndarray:
    """Return Hz at the middle of each hop: drawn straight between two voiced neighbours, else the nearer one's."""
    middles = (np.arange(samples // HOP) + 0.5) * HOP / RATE
    after = np.clip(np.searchsorted(times, middles), 1, len(times) - 1)
    share = np.clip((middles - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
    before, behind = hertz[after - 1], hertz[after]
    both = (before > 0) & (behind > 0)
    return np.where(both, (1 - share) * before + share * behind, np.where(share < 0.5, before, behind))


def warm_up(found: dict[str, Tracker], wave: np.ndarray) -> None:
    """Let every tracker load and compile."""
    for find in found.values():
        find(wave[:RATE])


def listen(found: dict[str, Tracker], wave: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return what each tracker hears, and the CPU seconds it took."""
    heard, seconds = {}, {}
    for name, find in found.items():
        begin = time.process_time()
        heard[name] = find(wave)
        seconds[name] = time.process_time() - begin
    return heard, seconds


def table(
    found: dict[str, Tracker],
    pairs: list[tuple[np.ndarray, dict[str, np.ndarray]]],
    seconds: dict[str, float] | None = None,
) -> None:
    """Print a row for each tracker: its errors against the truth, over all frames of all sounds."""
    print(f"{'':26}gross %  voicing %  cents: median  RMS" + ("   CPU s / s" if seconds else ""))
    for name in found:
        truth = np.concatenate([truth for truth, _ in pairs])
        guess = np.concatenate([heard[name][: len(truth)] for truth, heard in pairs])
        both = (truth > 0) & (guess > 0)
        cents = np.abs(1200 * np.log2(guess[both] / truth[both]))
        gross = np.abs(guess[both] / truth[both] - 1) > 0.2
        voicing = ((truth > 0) != (guess > 0)).mean()
        fine = cents[~gross]
        row = f"{name:26}{100 * gross.mean():7.2f}{100 * voicing:11.2f}{np.median(fine):15.2f}"
        row += f"{np.sqrt((fine**2).mean()):5.1f}"
        print(row + (f"{seconds[name]:12.4f}" if seconds else ""))


def planted_voice(seed: int, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Return three seconds of a planted voice and its true Hz a frame: even seeds low voices, odd ones high."""
    random = np.random.default_rng(seed)
    samples = 3 * RATE
    times = np.arange(samples) / RATE
    middle = random.uniform(85, 170) if seed % 2 == 0 else random.uniform(170, 330)
    semitones = 4 * np.sin(2 * np.pi * random.uniform(0.4, 1.2) * times + random.uniform(0, 6)) - 1.5 * times
    semitones += 0.4 * np.sin(2 * np.pi * random.uniform(4, 7) * times)
    hertz = middle * 2 ** (semitones / 12)
    phase = np.cumsum(hertz / RATE)
    marks = np.searchsorted(phase, np.arange(1, int(phase[-1])))
    marks = np.clip(marks + np.rint(random.normal(0, 0.005, len(marks)) * RATE / hertz[marks]), 0, samples - 1)
    pulses = np.bincount(marks.astype(int), minlength=samples) * np.sqrt(RATE / hertz)
    voiced = np.repeat(random.random(15) < 0.65, samples // 15)
    hiss = 0.3 * random.normal(size=samples) * np.repeat(random.random(15), samples // 15)
    source = np.where(voiced, _glottis(pulses), hiss)
    wave = np.concatenate([_formants(part, VOWELS[random.integers(4)]) for part in np.split(source, 5)])
    wave *= 0.3 / np.abs(wave).max()
    level = np.sqrt((wave[voiced] ** 2).mean()) if voiced.any() else 0.05
    wave += random.normal(0, level * 10 ** (-snr_db / 20), samples)
    middles = ((np.arange(samples // HOP) + 0.5) * HOP).astype(int)
    return wave.astype(np.float32), np.where(voiced[middles], hertz[middles], 0.0)


def _glottis(pulses: np.ndarray) -> np.ndarray:
    """Return pulses rounded to 12 dB an octave, as the glottis does, and radiated by the lips (6 dB back)."""
    from scipy.signal import lfilter

    corner = np.exp(-2 * np.pi * 120 / RATE)
    return lfilter([1.0, -0.98], np.convolve([1, -corner], [1, -corner]), pulses)


def _formants(source: np.ndarray, formants: tuple[int, ...]) -> np.ndarray:
    from scipy.signal import lfilter

    for center, width in zip(formants, WIDTHS, strict=True):
        radius = np.exp(-np.pi * width / RATE)
        poles = [1.0, -2 * radius * np.cos(2 * np.pi * center / RATE), radius**2]
        source = lfilter([sum(poles)], poles, source)
    return source


def consensus(heard: dict[str, np.ndarray]) -> np.ndarray:
    """Return the median Hz of those that hear a voice, where most do."""
    stacked = np.stack(list(heard.values()))
    voiced = (stacked > 0).mean(axis=0) > 0.5
    return np.array([np.median(one[one > 0]) if sounds else 0.0 for one, sounds in zip(stacked.T, voiced, strict=True)])


def spoken_again(wave: np.ndarray, hertz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a recording spoken by WORLD with this pitch (frames,), and the pitch."""
    import pyworld

    wave = wave.astype(np.float64)
    period = 500 * HOP / RATE  # twice a frame: every second one, from the first, is a frame's middle
    times = np.arange(2 * len(hertz) + 1) * period / 1000
    contour = np.zeros(len(times))
    contour[1::2] = hertz
    between = (hertz[:-1] > 0) & (hertz[1:] > 0)
    contour[2:-1:2] = np.where(between, (hertz[:-1] + hertz[1:]) / 2, 0.0)
    spectrum = pyworld.cheaptrick(wave, contour, times, RATE)
    aperiodicity = pyworld.d4c(wave, contour, times, RATE)
    spoken = pyworld.synthesize(contour, spectrum, aperiodicity, RATE, period)
    return spoken[: len(hertz) * HOP].astype(np.float32), hertz


if __name__ == "__main__":
    main()
