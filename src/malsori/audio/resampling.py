"""A wave at another sample rate, whole or as it comes (soxr's high quality)."""

from collections.abc import Iterable, Iterator

import numpy as np

from malsori.annotations import Float


def resample(wave: Float[np.ndarray, " samples"], rate: int, wanted: int) -> Float[np.ndarray, " resampled"]:
    """Return the wave at another sample rate, or the wave itself when the rates agree."""
    if rate == wanted:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, rate, wanted, quality="HQ"), dtype=np.float32)


def resample_parts(
    parts: Iterable[Float[np.ndarray, " _"]], rate: int, wanted: int
) -> Iterator[Float[np.ndarray, " _"]]:
    """Yield a wave that comes in parts of any length at another sample rate, together what resample gives."""
    if rate == wanted:
        yield from parts
        return
    import soxr

    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    for part in parts:
        yield stream.resample_chunk(np.ascontiguousarray(part, dtype=np.float32))
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
