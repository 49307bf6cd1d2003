"""Mel-cepstral distortion: how far the spectral envelope of one utterance is from another's, in decibels.

    MCD = (10 / ln 10) * sqrt(2 * sum over d of (c_d - c'_d)^2),  averaged over frames

c0 is the loudness and is left out by default.

Source: Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE Pacific Rim Conference
on Communications, Computers and Signal Processing (1993).
"""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from malsori.errors import MetricError

#: Decibels for a distance of 1 between cepstra: the log spectrum is c0 + 2 sum c_d cos(d w), by Parseval.
DECIBELS = 10.0 / math.log(10.0) * math.sqrt(2.0)


def mel_cepstral_distortion(reference: ArrayLike, hypothesis: ArrayLike, include_c0: bool = False) -> float:
    """Return the distortion in dB between cepstra that lie frame against frame already.

    Args:
        reference: one cepstrum (coefficients,) or a sequence of them (frames, coefficients), c0 first.
        hypothesis: of the same shape.
        include_c0: whether the first coefficient, the loudness, counts.
    Raises: MetricError for shapes that differ, no frames, or values that are not finite.

    >>> round(mel_cepstral_distortion([1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3], include_c0=True), 2)
    2.61
    >>> round(mel_cepstral_distortion([1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3]), 2)
    2.3
    """
    ours, theirs = np.atleast_2d(np.asarray(reference, float)), np.atleast_2d(np.asarray(hypothesis, float))
    if ours.shape != theirs.shape or ours.ndim != 2 or not ours.size:
        raise MetricError(
            f"cepstra of shapes {ours.shape} and {theirs.shape}: both must be (frames, coefficients) alike and not "
            "empty; align sequences of different lengths first, as malsori.mcd does"
        )
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise MetricError("cepstra hold values that are not finite (NaN or infinity): check the sound they come from")
    return float(frame_distortions(ours, theirs, include_c0).mean())


def frame_distortions(
    reference: Float[np.ndarray, "frames coefficients"],
    hypothesis: Float[np.ndarray, "frames coefficients"],
    include_c0: bool = False,
) -> Float[np.ndarray, " frames"]:
    """Return the distortion of each frame in dB."""
    first = 0 if include_c0 else 1
    return DECIBELS * np.linalg.norm(reference[:, first:] - hypothesis[:, first:], axis=1)
