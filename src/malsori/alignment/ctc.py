"""The most probable way through CTC scores: which frame belongs to which token of a known text.

    blank   ●──●                 ●──●
                \\               /    \\
    ㅎ            ●──●          /      \\        the path may stay, go to the next state, or skip the blank
    blank            (skipped) /        \\      between two different tokens; equal tokens need the blank
    ㅏ                  ●──●──●          ●

Time is proportional to frames x tokens. Memory is not: scores are kept at every k-th frame only, and the back-pointers
of one stretch at a time are worked out again from there (k grows with the root of the length), so an hour of
speech against its whole text needs a few hundred megabytes.

Source: A. Graves et al. 2006, Connectionist Temporal Classification; the recursion is the one of eq. 6-7 with the
greatest in place of the sum. Checkpoints: R. Chang, D. Grice 1997, reduced-memory trellis search.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malsori.alignment.compiled import compiled
from malsori.annotations import Float, Integer
from malsori.errors import AlignmentError

#: Up to this many bytes all back-pointers are kept, which saves the second pass.
POINTER_BYTES = 64 * 2**20
#: A checkpoint keeps two float64 for each token, a back-pointer one byte.
_CHECKPOINT_COST = 16

# What a back-pointer's byte holds: two bits for the token state, one for the blank behind it.
_STAY, _FROM_BLANK, _FROM_TOKEN = np.uint8(0), np.uint8(1), np.uint8(2)
_TOKEN_BITS, _BLANK_FROM_TOKEN = np.uint8(3), np.uint8(4)


@dataclass(frozen=True)
class CtcPath:
    """The most probable path of a text through the frames of a sound.

    Attributes:
        frame_tokens: position in the text of each frame's token, -1 where the path is in the blank (frames,).
        starts: first frame of each token (tokens,).
        ends: one past the last frame of each token (tokens,).
        token_log_probs: mean log-probability over each token's own frames (tokens,).
        score: log-probability of the whole path.
    """

    frame_tokens: Integer[np.ndarray, " frames"]
    starts: Integer[np.ndarray, " tokens"]
    ends: Integer[np.ndarray, " tokens"]
    token_log_probs: Float[np.ndarray, " tokens"]
    score: float


def needed_frames(token_ids: Sequence[int] | Integer[np.ndarray, " tokens"]) -> int:
    """Return how many frames CTC needs at least: one for each token and one blank between two equal ones.

    >>> needed_frames([3, 3, 4])
    4
    """
    ids = np.asarray(token_ids)
    return len(ids) + int((ids[1:] == ids[:-1]).sum())


def align_ctc(
    log_probs: Float[np.ndarray, "frames vocab"],
    token_ids: Sequence[int] | Integer[np.ndarray, " tokens"],
    blank: int = 0,
) -> CtcPath:
    """Return the most probable path of the tokens through the frames.

    Ties: of equally probable paths the one is taken whose states (blank, token, blank, ...), read from the last frame
    back to the first, stand furthest in the text; so a token begins as early as it can.

    Args:
        log_probs: a score for each symbol and frame; -inf forbids, NaN is refused.
        token_ids: the text, without blanks.
        blank: the blank's id.
    Raises: AlignmentError if the frames are too few (names how many are needed), a token is not in the vocabulary
        or is the blank itself, a score is NaN, or no path has a probability above zero.
    """
    tokens = np.asarray(token_ids, dtype=np.int64)
    _check(log_probs, tokens, blank)
    states, score = _search(np.ascontiguousarray(log_probs), tokens, blank)
    if score == -math.inf:
        raise AlignmentError(f"every path of the {len(tokens)} tokens through the {len(states)} frames is forbidden")
    return _describe(states, score, log_probs, tokens)


def _check(log_probs: np.ndarray, tokens: np.ndarray, blank: int) -> None:
    """Refuse what cannot be aligned, with the reason."""
    frames, vocab = log_probs.shape
    needed = needed_frames(tokens)
    if needed > frames:
        raise AlignmentError(
            f"{frames} frames are too few for {len(tokens)} tokens and {needed - len(tokens)} blanks between equal "
            f"ones: {needed} are needed. The text is longer than the sound, or belongs to another."
        )
    wrong = tokens[(tokens < 0) | (tokens >= vocab) | (tokens == blank)]
    if len(wrong):
        raise AlignmentError(f"token {wrong[0]} cannot stand in a text: accepted are 0 to {vocab - 1} without {blank}")
    if np.isnan(log_probs).any() or np.isposinf(log_probs).any():
        raise AlignmentError("the scores hold NaN or +inf: log-probabilities are needed")


def _search(log_probs: np.ndarray, tokens: np.ndarray, blank: int) -> tuple[np.ndarray, float]:
    """Return the position of each frame's token (-1 in the blank) and the path's log-probability."""
    frames, width = len(log_probs), len(tokens) + 1
    single_pass = frames * width <= POINTER_BYTES
    block = frames if single_pass else math.isqrt(_CHECKPOINT_COST * frames) + 1
    beginnings = range(0, frames, max(block, 1))
    skips = np.full(width, -math.inf)  # skips[n]: 0 where token n may follow token n-1 without a blank
    skips[2:][tokens[1:] != tokens[:-1]] = 0.0
    scores = np.full((2, width), -math.inf)  # [0, n]: the blank behind token n, [1, n]: token n; tokens count from 1
    scores[0, 0] = 0.0

    pointers = np.zeros((min(block, frames), width), dtype=np.uint8)
    checkpoints = []
    for begin in beginnings:
        checkpoints.append(scores.copy())
        end = min(begin + block, frames)
        keep = pointers if begin == beginnings[-1] else pointers[:0]
        _advance(log_probs, tokens, skips, blank, scores, begin, end, keep)
    in_blank = scores[0, -1] >= scores[1, -1]
    score, state = float(scores[0 if in_blank else 1, -1]), 2 * len(tokens) - (0 if in_blank else 1)

    states = np.empty(frames, dtype=np.int32)
    for begin in reversed(beginnings):
        end = min(begin + block, frames)
        if begin != beginnings[-1]:
            _advance(log_probs, tokens, skips, blank, checkpoints[begin // block], begin, end, pointers)
        state = _trace_back(pointers, state, states[begin:end])
    return states, score


@compiled
def _advance(log_probs, tokens, skips, blank, scores, begin, end, pointers):  # type: ignore[no-untyped-def]
    """Carry the scores over the frames from begin to end, in place; note the choices if pointers has rows for it.

    The loops run over slices of equal length from 0 on, few arrays in each: so the compiler makes SIMD code of them.
    """
    frames, count = log_probs.shape[0], len(tokens)
    in_blank, in_token = scores[0].copy(), scores[1].copy()
    next_blank, next_token = in_blank.copy(), in_token.copy()
    for frame in range(begin, end):
        # Only tokens that can be reached from the start and can still reach the end.
        low, high = max(1, count - (frames - frame)), min(count, frame + 1)
        row, blank_score = log_probs[frame], np.float64(log_probs[frame, blank])
        token, token_before = in_token[low : high + 1], in_token[low - 1 : high]
        behind, before = in_blank[low : high + 1], in_blank[low - 1 : high]
        to_token, to_blank = next_token[low : high + 1], next_blank[low : high + 1]
        ids, skip = tokens[low - 1 : high], skips[low : high + 1]
        for i in range(len(ids)):
            to_token[i] = row[ids[i]]
        for i in range(len(ids)):
            to_token[i] += max(max(token[i], before[i]), token_before[i] + skip[i])
        for i in range(len(ids)):
            to_blank[i] = max(behind[i], token[i]) + blank_score
        if low == 1:
            next_blank[0] = in_blank[0] + blank_score
        if len(pointers):
            noted = pointers[frame - begin, low : high + 1]
            for i in range(len(ids)):
                skipped = token_before[i] + skip[i] > max(token[i], before[i])
                choice = _STAY if token[i] >= before[i] else _FROM_BLANK
                choice = _FROM_TOKEN if skipped else choice
                noted[i] = choice | (_BLANK_FROM_TOKEN if token[i] > behind[i] else _STAY)
        in_blank, next_blank = next_blank, in_blank
        in_token, next_token = next_token, in_token
    scores[0], scores[1] = in_blank, in_token


@compiled
def _trace_back(pointers, state, states):  # type: ignore[no-untyped-def]
    """Fill in the tokens of a stretch of frames, last to first, and return the state before it.

    A state is 2n in the blank behind token n, 2n - 1 in token n.
    """
    for frame in range(len(states) - 1, -1, -1):
        n = (state + 1) // 2
        pointer = pointers[frame, n]
        if state % 2 == 0:
            states[frame] = -1
            state -= (pointer & _BLANK_FROM_TOKEN) // _BLANK_FROM_TOKEN
        else:
            states[frame] = n - 1
            state -= pointer & _TOKEN_BITS
    return state


def _describe(states: np.ndarray, score: float, log_probs: np.ndarray, tokens: np.ndarray) -> CtcPath:
    """Return the path with each token's frames and mean score."""
    spoken = np.flatnonzero(states >= 0)
    positions = states[spoken]
    lengths = np.bincount(positions, minlength=len(tokens))
    totals = np.bincount(positions, weights=log_probs[spoken, tokens[positions]], minlength=len(tokens))
    starts = spoken[np.searchsorted(positions, np.arange(len(tokens)))]
    return CtcPath(states, starts, starts + lengths, totals / np.maximum(lengths, 1), score)
