"""How natural and clean speech sounds without a reference: DNSMOS P.835, a network that guesses listeners' opinions.

A mean opinion score lies between 1 (bad) and 5 (excellent). It was learnt from noisy and enhanced English calls, so
that it says more about noise and distortion than about a voice's manner: read it beside the recordings' own.

Source: Reddy, Gopal and Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to evaluate
noise suppressors", ICASSP 2022; the authors' package speechmos and its networks (MIT), at 16 kHz.
"""

from dataclasses import asdict, dataclass

import numpy as np

from malsori.annotations import Float
from malsori.audio.resampling import resample
from malsori.errors import MetricError
from malsori.extras import import_extra

_RATE = 16000


@dataclass(frozen=True)
class OpinionScores:
    """Guessed mean opinion scores, 1 to 5: of the whole, of the speech itself, of what lies behind it."""

    overall: float
    signal: float
    background: float

    def as_measures(self) -> dict[str, float]:
        """Return them by their names in an evaluation."""
        return {f"dnsmos_{name}": value for name, value in asdict(self).items()}


def dnsmos(wave: Float[np.ndarray, " samples"], sample_rate: int) -> OpinionScores:
    """Return DNSMOS of a wave; what is shorter than 9 s is heard over and over, as its authors do.

    Raises: MissingExtraError without the extra `mos`; MetricError if there is no sample.
    """
    import_extra("speechmos", "DNSMOS")
    from speechmos import dnsmos as networks

    if not len(wave):
        raise MetricError("DNSMOS of a sound without a sample cannot be told")
    found = networks.run(np.clip(resample(wave, sample_rate, _RATE), -1.0, 1.0), _RATE)
    return OpinionScores(float(found["ovrl_mos"]), float(found["sig_mos"]), float(found["bak_mos"]))
