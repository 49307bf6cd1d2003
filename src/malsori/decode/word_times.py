"""When each token of a sequence decoder sounds, by where in the sound it looks.

steps of the sound   . . 나 나 무 무 . . . . 하 늘 . .
of speech                0  1  2  3          4  5          the path runs over these alone
"""

import numpy as np

from malsori.alignment.monotonic import align_monotonic
from malsori.annotations import Bool, Float, Int

_MEDIAN_STEPS = 7
_NEAR_STEPS = 8  # as far as the median reaches, and one
_SYLLABLE_STEPS = 12  # 0.24 s; a sound that is shorter, and that a pause parts from a word, is the neighbor's
_PAUSE_DB = 35.0  # below what is loud: nobody speaks
_PAUSE_STEPS = 6  # 0.12 s; the stop before a tense consonant is shorter
_UNSEEN = 0.1  # deviations above the mean: where no token is looked from more than so, the first has not begun yet


def token_steps(
    attention: Float[np.ndarray, "heads tokens time"], speech: Bool[np.ndarray, " time"]
) -> Int[np.ndarray, "spoken 2"] | None:
    """Return the step at which each token begins and the one behind its last; None if there is too little speech.

    A token lies in steps of speech alone: of two with a silence between, one ends before it and one begins after. The
    path finds a border to some steps; one that near to a silence is taken to lie in it.

    Args:
        attention: from the token before each one, over the steps of the sound; the last is of the end.
        speech: the steps in which somebody speaks.
    """
    places = np.flatnonzero(speech)
    starts = _token_starts(attention[:, :, places])
    if starts is None:
        return None
    starts = _at_pauses(starts, np.flatnonzero(np.diff(places) > 1) + 1)
    first, last = starts[:-1], np.maximum(starts[1:], starts[:-1] + 1) - 1
    return np.stack([places[np.minimum(first, len(places) - 1)], places[np.minimum(last, len(places) - 1)] + 1], axis=1)


def _at_pauses(starts: Int[np.ndarray, " tokens"], pauses: Int[np.ndarray, " pauses"]) -> Int[np.ndarray, " tokens"]:
    """Return the starts, those that are near to the first step behind a pause moved there."""
    if not len(pauses):
        return starts
    nearest = pauses[np.abs(starts[:, None] - pauses).argmin(1)]
    return np.maximum.accumulate(np.where(np.abs(nearest - starts) <= _NEAR_STEPS, nearest, starts))


def without_neighbors(first: int, last: int, speech: Bool[np.ndarray, " time"]) -> tuple[int, int]:
    """Return the first step of a word and the one behind its last, without what a pause parts from it.

    What is cut off is shorter than a syllable, and than what stays.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech[first:last], [False]])))
    parts = (edges.reshape(-1, 2) + first).tolist()
    while len(parts) > 1:
        shortest = min((parts[0], parts[-1]), key=lambda part: part[1] - part[0])
        if shortest[1] - shortest[0] >= _SYLLABLE_STEPS:
            break
        parts.remove(shortest)
    return (parts[0][0], parts[-1][1]) if parts else (first, last)


def without_pauses(speech: Bool[np.ndarray, " time"], levels: Float[np.ndarray, " time"]) -> Bool[np.ndarray, " time"]:
    """Return the steps in which somebody speaks without the pauses that are too short for a detector.

    A decoder looks anywhere while nobody speaks, so that a border would lie anywhere in a pause.

    Args:
        speech: the steps in which a detector finds speech.
        levels: how loud each step is, in dB.
    """
    if not speech.any():
        return speech
    quiet = levels < np.quantile(levels[speech], 0.95) - _PAUSE_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    found = speech.copy()
    for first, last in edges.reshape(-1, 2):
        if last - first >= _PAUSE_STEPS:
            found[first:last] = False
    return found


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
