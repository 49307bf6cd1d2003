"""How far the melody, the voicing and the pace of one utterance are from another's, along the path that MCD found."""

from dataclasses import dataclass

import numpy as np

from malsori.annotations import Float
from malsori.audio.pitch import pitch_hz
from malsori.config import AudioConfig
from malsori.metrics.cepstral import CepstralDistortion

#: Pitch is measured every 10 ms: it moves slowly, and Praat's windows are longer than that.
PITCH_SECONDS = 0.01

#: Cents in an octave, after which the frequency has doubled.
CENTS = 1200.0


@dataclass(frozen=True)
class ProsodyDifference:
    """Differences of pitch where both voices sound, of voicing and of length; None where nothing sounds in both."""

    log_f0_rmse_cents: float | None
    f0_rmse_hz: float | None
    f0_correlation: float | None
    voicing_error: float
    duration_ratio: float


def compare_prosody(
    reference_wave: Float[np.ndarray, " reference_samples"],
    hypothesis_wave: Float[np.ndarray, " hypothesis_samples"],
    sample_rate: int,
    distortion: CepstralDistortion,
) -> ProsodyDifference:
    """Return root mean square differences of pitch over frames voiced in both, and the share of frames voiced in one.

    Args:
        reference_wave, hypothesis_wave: (samples,) at sample_rate.
        sample_rate: Hz, of both.
        distortion: of the same two waves; its path says which frames are compared.
    """
    ours, theirs = (_pitch(wave, sample_rate) for wave in (reference_wave, hypothesis_wave))
    ours = _at(ours, distortion.reference_frames * distortion.frame_seconds)
    theirs = _at(theirs, distortion.hypothesis_frames * distortion.frame_seconds)
    both = (ours > 0) & (theirs > 0)
    return ProsodyDifference(
        *_pitch_differences(ours[both], theirs[both]),
        voicing_error=float(((ours > 0) != (theirs > 0)).mean()),
        duration_ratio=len(hypothesis_wave) / len(reference_wave),
    )


def _pitch_differences(ours: np.ndarray, theirs: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Return RMSE in cents, RMSE in Hz and the correlation of the logarithms, of what is voiced in both."""
    if not len(ours):
        return None, None, None
    cents = CENTS * np.log2(theirs / ours)
    varied = len(ours) > 2 and min(np.ptp(ours), np.ptp(theirs)) > 0
    correlation = float(np.corrcoef(np.log(ours), np.log(theirs))[0, 1]) if varied else None
    return float(np.sqrt((cents**2).mean())), float(np.sqrt(((theirs - ours) ** 2).mean())), correlation


def _pitch(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return Hz every PITCH_SECONDS, 0 where unvoiced."""
    hop = 2 * round(PITCH_SECONDS * sample_rate / 2)
    fft = 4 * hop
    audio = AudioConfig(
        sample_rate=sample_rate,
        fft_samples=fft,
        window_samples=fft,
        hop_samples=hop,
        max_hz=min(8000.0, sample_rate / 2),
    )
    return pitch_hz(np.asarray(wave, np.float32), audio)


def _at(pitch: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return the pitch of the frame that each time lies in; unvoiced where the sound is too short for any."""
    if not len(pitch):
        return np.zeros(len(seconds))
    return pitch[np.clip((seconds / PITCH_SECONDS).astype(int), 0, len(pitch) - 1)]
