"""When each token of a sequence decoder sounds, by where in the sound it looks.

steps of the sound   . . 나 나 무 무 . . . . 하 늘 . .
of speech                0  1  2  3          4  5          the path runs over these alone
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from malsori.alignment.monotonic import align_monotonic

_MEDIAN_STEPS = 7
_UNSEEN = 0.1  # deviations above the mean: where no token is looked from more than so, the first has not begun yet


def token_steps(
    attention: Float[np.ndarray, "heads tokens time"], speech: Bool[np.ndarray, " time"]
) -> Int[np.ndarray, "spoken 2"] | None:
    """Return the step at which each token begins and the one behind its last; None if there is too little speech.

    A token lies in steps of speech alone: of two with a silence between, one ends before it and one begins after.

    Args:
        attention: from the token before each one, over the steps of the sound; the last is of the end.
        speech: the steps in which somebody speaks.
    """
    places = np.flatnonzero(speech)
    starts = _token_starts(attention[:, :, places])
    if starts is None:
        return None
    first, last = starts[:-1], np.maximum(starts[1:], starts[:-1] + 1) - 1
    return np.stack([places[np.minimum(first, len(places) - 1)], places[np.minimum(last, len(places) - 1)] + 1], axis=1)


def _token_starts(attention: Float[np.ndarray, "heads tokens time"]) -> Int[np.ndarray, " tokens"] | None:
    """Return the step at which each token begins, by where the decoder attends before it; None if too few steps.

    Source: the authors' code (timing.py): heads are brought to mean 0 and deviation 1 over the tokens, smoothed by a
        median over 7 steps and averaged. The path through them is ours: the best monotonic one, which begins with what
        no token looks at more than the others do.
    """
    tokens, time = attention.shape[1:]
    if time < max(tokens + 1, _MEDIAN_STEPS):
        return None
    deviation = np.maximum(attention.std(1, keepdims=True), 1e-9)
    standard = (attention - attention.mean(1, keepdims=True)) / deviation
    half = _MEDIAN_STEPS // 2
    padded = np.pad(standard, ((0, 0), (0, 0), (half, half)), mode="reflect")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN_STEPS, axis=-1), axis=-1).mean(0)
    lasts = align_monotonic(np.concatenate([np.full((1, time), _UNSEEN), smooth]).T.astype(np.float64))
    return np.cumsum(lasts[:-1])
