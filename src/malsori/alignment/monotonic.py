"""Monotonic alignment search: how many frames each token of a text lasts, by the most probable path there is.

    token 4 │               ●──●
    token 3 │         ●──●──┘        each frame stays with its token or goes on to the next;
    token 2 │      ●──┘              the first frame is the first token's, the last frame the last one's
    token 1 │●──●──┘
            └────────────────── frames

Unlike in CTC there is no blank, and a token's score differs from token to token, not from symbol to symbol: so a model
finds its own durations while it learns.

Source: Glow-TTS (Kim et al. 2020, arXiv:2005.11129), 3.3 and algorithm 1, as VITS (arXiv:2106.06103), 2.2.1, uses it.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from malsori.alignment.compiled import compiled
from malsori.annotations import Float, Int, Integer
from malsori.errors import AlignmentError


def align_monotonic(scores: Float[np.ndarray, "frames tokens"]) -> Int[np.ndarray, " tokens"]:
    """Return how many frames each token lasts, one or more, on the path whose scores sum to most.

    Ties: of equally good paths the one is taken in which, read from the last token back to the first, each begins as
    early as it can. Sums are kept in float64.

    Args:
        scores: log-probability of each frame under each token; -inf forbids, NaN is refused.
    Raises: AlignmentError if there are fewer frames than tokens, no token, a score is NaN or +inf, or every path is
        forbidden.

    >>> align_monotonic(np.array([[0.0, -9.0], [0.0, -9.0], [-9.0, 0.0]])).tolist()
    [2, 1]
    """
    frames, tokens = scores.shape
    if not 0 < tokens <= frames:
        raise AlignmentError(
            f"{frames} frames cannot be dealt out to {tokens} tokens: each needs one at least. The text is empty, "
            "longer than the sound, or belongs to another."
        )
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise AlignmentError("the scores hold NaN or +inf: log-probabilities are needed")
    durations = np.zeros(tokens, dtype=np.int64)
    if _search(np.ascontiguousarray(scores), np.zeros((frames, tokens), dtype=np.bool_), durations) == -np.inf:
        raise AlignmentError(f"every path of the {tokens} tokens through the {frames} frames is forbidden")
    return durations


def align_monotonic_batch(
    scores: Float[np.ndarray, "batch frames tokens"],
    frame_lengths: Integer[np.ndarray, " batch"],
    token_lengths: Integer[np.ndarray, " batch"],
    threads: int | None = None,
) -> Int[np.ndarray, "batch tokens"]:
    """Return how many frames each token of each text lasts, 0 on padding, several texts at a time.

    Args:
        scores: as `align_monotonic` takes them, padded; what stands in the padding does not matter.
        frame_lengths, token_lengths: what is real of each item (batch,).
        threads: how many at a time; by default one for each processor core.
    Raises: AlignmentError, as `align_monotonic`, naming the item by its number.
    """
    durations = np.zeros((scores.shape[0], scores.shape[2]), dtype=np.int64)

    def one(number: int) -> None:
        tokens = int(token_lengths[number])
        try:
            durations[number, :tokens] = align_monotonic(scores[number, : int(frame_lengths[number]), :tokens])
        except AlignmentError as error:
            raise AlignmentError(f"item {number} of the batch: {error}") from error

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        list(pool.map(one, range(len(scores))))
    return durations


@compiled
def _search(scores, came, durations):  # type: ignore[no-untyped-def]
    """Fill in the durations and return the best path's score; came[t, n]: the path enters token n at frame t."""
    frames, tokens = scores.shape
    best = np.full(tokens, -np.inf)
    best[0] = 0.0
    for frame in range(frames):
        # From the last token down, so that best[n - 1] is still the frame before's; only tokens that can be reached
        # from the start and can still reach the end.
        for token in range(min(tokens - 1, frame), max(0, tokens - frames + frame) - 1, -1):
            enter = best[token - 1] if token > 0 else -np.inf
            came[frame, token] = enter > best[token]
            best[token] = max(best[token], enter) + scores[frame, token]
    token = tokens - 1
    for frame in range(frames - 1, -1, -1):
        durations[token] += 1
        if came[frame, token]:
            token -= 1
    return best[tokens - 1]
