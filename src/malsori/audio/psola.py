"""Another pitch for a voice, its vowels and its pace kept: pitch-synchronous overlap-add.

    wave ─► F0 ─► marks, one a period ─► two periods about each, windowed ─► laid out at the new periods, added

Where nothing is voiced the marks are 5 ms apart and stay where they are. With no shift the windows add up to one, and
the wave comes back as it was.

Source: Moulines and Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech synthesis using
diphones", Speech Communication 9 (1990): time-domain PSOLA.
"""

from dataclasses import dataclass

import numpy as np

from malsori.annotations import Float, Int
from malsori.audio.pitch import pitch_hz
from malsori.config import AudioConfig

_UNVOICED_SECONDS = 0.005  # from one mark to the next
_SEARCHED = 0.2  # of a period, around where the next mark is expected


@dataclass(frozen=True)
class _Marks:
    """Samples at which a wave is cut, the first 0 and the last its length; the period at each, 0 where unvoiced."""

    places: Int[np.ndarray, " marks"]
    periods: Float[np.ndarray, " marks"]


def shift_pitch(
    wave: Float[np.ndarray, " samples"], audio: AudioConfig, semitones: float
) -> Float[np.ndarray, " samples"]:
    """Return a wave with its fundamental frequency so many semitones higher, as long as before.

    Args:
        wave: (samples,) at audio.sample_rate.
        semitones: negative for lower.
    """
    pitch = pitch_hz(wave, audio)
    if semitones == 0 or not pitch.any():
        return wave
    ratio = 2.0 ** (semitones / 12)
    marks = _marks(wave, pitch, audio)
    out = np.zeros(len(wave) + 1, dtype=np.float64)
    place = float(marks.places[1])
    while place < len(wave):
        right = int(np.searchsorted(marks.places, place))
        near = (
            right
            if right < len(marks.places) - 1 and marks.places[right] - place < place - marks.places[right - 1]
            else right - 1
        )
        near = min(max(near, 1), len(marks.places) - 2)
        period = marks.periods[near]
        _add(out, wave, marks.places[near - 1 : near + 2], round(place), ratio**-0.5 if period else 1.0)
        place += period / ratio if period else float(marks.places[near + 1] - marks.places[near])
    return out[:-1].astype(np.float32)


def _marks(wave: np.ndarray, pitch: np.ndarray, audio: AudioConfig) -> _Marks:
    """Return the marks of a wave: in voiced stretches its peaks, a period apart."""
    sign = 1 if wave.max() >= -wave.min() else -1
    step = round(_UNVOICED_SECONDS * audio.sample_rate)
    places, periods = [0], [0.0]
    while places[-1] < len(wave) - 1:
        at = places[-1]
        hertz = float(pitch[min(at // audio.hop_samples, len(pitch) - 1)])
        if not hertz:
            places.append(min(at + step, len(wave)))
            periods.append(0.0)
            continue
        period = audio.sample_rate / hertz
        # a stretch begins with the highest peak of a period; then the peak nearest to a period later
        low, high = (1 - _SEARCHED, 1 + _SEARCHED) if periods[-1] else (0.1, 1.1)
        first = at + max(1, round(low * period))
        searched = sign * wave[first : at + round(high * period) + 1]
        places.append(first + int(searched.argmax()) if len(searched) else len(wave))
        periods.append(period)
    if places[-1] < len(wave):
        places.append(len(wave))
        periods.append(0.0)
    return _Marks(np.array(places), np.array(periods))


def _add(out: np.ndarray, wave: np.ndarray, around: np.ndarray, place: int, gain: float) -> None:
    """Add what lies about a mark, from the one before it to the one after, about another place."""
    before, at, after = (int(mark) for mark in around)
    rising, falling = at - before, after - at
    window = np.concatenate(
        [
            0.5 - 0.5 * np.cos(np.pi * np.arange(rising) / rising),
            0.5 + 0.5 * np.cos(np.pi * np.arange(falling) / falling),
        ]
    )
    piece = wave[before:after] * window * gain
    start = place - rising
    first, last = max(0, -start), min(len(piece), len(out) - start)
    if first < last:
        out[start + first : start + last] += piece[first:last]
