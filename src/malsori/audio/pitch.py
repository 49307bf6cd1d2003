"""Pitch and energy of speech, one value for each frame of the mel spectrogram.

Pitch is Boersma's autocorrelation method, run twice: the first pass finds the speaker's range, the second searches only
there, which removes most octave errors. `malsori.audio.autocorrelation` is our own; Praat's, which it follows within a
cent, can be asked for where the extra `praat` is installed (it is GPL-3, malsori is not).

Source: Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound", IFA Proceedings 17 (1993); De Looze and Hirst, "Detecting changes in key and range for the automatic
modelling and coding of intonation", Speech Prosody 2008 (the two passes).
"""

from typing import Literal

import numpy as np

from malsori.annotations import Float
from malsori.audio.autocorrelation import PERIODS_PER_WINDOW, track_pitch
from malsori.config import AudioConfig
from malsori.extras import import_extra

#: Who finds the fundamental frequency: our own autocorrelation, or Praat's.
PitchTracker = Literal["autocorrelation", "praat"]

DEFAULT_TRACKER: PitchTracker = "autocorrelation"

#: Hz between which anybody's voice is sought in the first pass.
LOWEST_HZ, HIGHEST_HZ = 60.0, 700.0

#: The second pass searches from 0.75 x the first quartile to 2.5 x the third: lively speech goes high, seldom low.
BELOW_FIRST_QUARTILE, ABOVE_THIRD_QUARTILE = 0.75, 2.5


def pitch_hz(
    wave: Float[np.ndarray, " samples"], audio: AudioConfig, tracker: PitchTracker = DEFAULT_TRACKER
) -> Float[np.ndarray, " frames"]:
    """Return the fundamental frequency in Hz at the middle of each frame, 0 where the voice does not sound.

    Args:
        wave: (samples,) at audio.sample_rate.
        audio: gives the rate and the hop; frames = samples // hop_samples, frame i is centered on (i + 0.5) hops.
        tracker: who finds it.
    Raises: MissingExtraError if Praat is asked for and not installed.
    """
    find = _praat_pitch if tracker == "praat" else _own_pitch
    first = find(wave, audio, LOWEST_HZ, HIGHEST_HZ)
    voiced = first[first > 0]
    if not len(voiced):
        return first
    lower, upper = np.percentile(voiced, [25, 75])
    lowest = max(LOWEST_HZ, BELOW_FIRST_QUARTILE * float(lower))
    return find(wave, audio, lowest, min(HIGHEST_HZ, ABOVE_THIRD_QUARTILE * float(upper)))


def continuous_log_pitch(pitch: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
    """Return ln(Hz) in every frame: drawn straight across unvoiced stretches, held before the first and after the last.

    Where no frame at all is voiced there is nothing to draw, and the result is 0 throughout.
    """
    voiced = np.flatnonzero(pitch > 0)
    if not len(voiced):
        return np.zeros(len(pitch), dtype=np.float32)
    return np.interp(np.arange(len(pitch)), voiced, np.log(pitch[voiced])).astype(np.float32)


def energy(log_mel: Float[np.ndarray, "frames mel_channels"]) -> Float[np.ndarray, " frames"]:
    """Return the loudness of each frame: the L2 norm of its mel magnitudes.

    Source: FastSpeech 2 (Ren et al. 2020, arXiv:2006.04558), 2.3: the L2 norm of each frame's STFT amplitudes; here of
    their mel bands, so that it can be had from a generated spectrogram too.
    """
    return np.linalg.norm(np.exp(log_mel), axis=1).astype(np.float32)


def _own_pitch(wave: np.ndarray, audio: AudioConfig, lowest: float, highest: float) -> np.ndarray:
    return track_pitch(wave, audio.sample_rate, audio.hop_samples, lowest, highest)


def _praat_pitch(wave: np.ndarray, audio: AudioConfig, lowest: float, highest: float) -> np.ndarray:
    """Return Praat's pitch (frames,), the sound padded so that Praat's frames fall on ours.

    Praat lays as many frames as fit, window and all, symmetrically about the middle of the sound. A quarter of a hop
    to spare at each end makes that number exactly ours whatever the rounding, and symmetry puts each in its place.
    """
    parselmouth = import_extra("parselmouth", "Praat's pitch")
    frames = len(wave) // audio.hop_samples
    if not frames:
        return np.zeros(0, dtype=np.float32)
    window = PERIODS_PER_WINDOW / lowest * audio.sample_rate
    padding = round((window - audio.hop_samples / 2) / 2)
    padded = np.pad(wave[: frames * audio.hop_samples].astype(np.float64), max(0, padding))
    sound = parselmouth.Sound(padded, sampling_frequency=audio.sample_rate)
    pitch = sound.to_pitch_ac(time_step=audio.frame_seconds, pitch_floor=lowest, pitch_ceiling=highest)
    return np.asarray(pitch.selected_array["frequency"], dtype=np.float32)
