"""Dynamic time warping: which frame of one sequence belongs to which frame of another.

A path begins at the first pair of frames, ends at the last, and moves by one frame in either sequence or in both; each
pair on it costs the Euclidean distance of its frames. `dtw` finds the cheapest path there is and, among equally cheap
ones, the shortest: the mean cost along it is then the same whichever sequence comes first. `fast_dtw` is the
approximation that other tools measure with, kept to reproduce their numbers.

Source: Sakoe and Chiba, IEEE Transactions on Acoustics, Speech, and Signal Processing 26 (1978); Salvador and Chan,
"Toward accurate dynamic time warping in linear time and space", Intelligent Data Analysis 11 (2007).
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from numba import njit

from malsori.annotations import Float, Int
from malsori.errors import AlignmentError

#: Cells of a table (a byte each): 40 s against 40 s at 200 frames a second are 64 million.
MAX_CELLS = 2_000_000_000

_REFERENCE, _HYPOTHESIS, _BOTH = range(3)


@dataclass(frozen=True)
class WarpingPath:
    """Pairs of frames in order, and the summed distance along them."""

    reference_frames: Int[np.ndarray, " steps"]
    hypothesis_frames: Int[np.ndarray, " steps"]
    cost: float

    def __len__(self) -> int:
        return len(self.reference_frames)


def dtw(
    reference: Float[np.ndarray, "reference_frames features"],
    hypothesis: Float[np.ndarray, "hypothesis_frames features"],
) -> WarpingPath:
    """Return the cheapest path, and the shortest among equally cheap ones.

    Args:
        reference, hypothesis: feature vectors, a row for each frame.
    Raises: AlignmentError if a sequence is empty, or both so long that the table does not fit into memory.

    >>> dtw(np.array([[0.0], [1.0], [5.0]]), np.array([[0.0], [5.0]])).hypothesis_frames.tolist()
    [0, 0, 1]
    """
    _check(reference, hypothesis)
    rows, columns = len(reference), len(hypothesis)
    if rows * columns > MAX_CELLS:
        raise AlignmentError(
            f"{rows} x {columns} frames to be warped onto each other; at most {MAX_CELLS:,} pairs fit: "
            "cut the recordings into sentences"
        )
    starts, ends = np.zeros(rows, np.int64), np.full(rows, columns, np.int64)
    return WarpingPath(*_warp(_contiguous(reference), _contiguous(hypothesis), starts, ends, True))


def fast_dtw(
    reference: Float[np.ndarray, "reference_frames features"],
    hypothesis: Float[np.ndarray, "hypothesis_frames features"],
    radius: int = 1,
) -> WarpingPath:
    """Return the path that the package fastdtw finds: coarse first, then refined within a few cells of it.

    Args:
        reference, hypothesis: feature vectors, a row for each frame.
        radius: cells around the coarser path that are searched again, >= 1.
    Raises: AlignmentError if a sequence is empty.
    """
    _check(reference, hypothesis)
    return WarpingPath(*_warp_coarse_to_fine(_contiguous(reference), _contiguous(hypothesis), radius))


def _check(reference: np.ndarray, hypothesis: np.ndarray) -> None:
    if not (len(reference) and len(hypothesis)):
        raise AlignmentError(f"{len(reference)} and {len(hypothesis)} frames to be warped: neither side may be empty")


def _contiguous(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frames, dtype=np.float64)


def _warp_coarse_to_fine(
    reference: np.ndarray, hypothesis: np.ndarray, radius: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Warp sequences of half the length first; the window is the coarse path, widened by `radius` and doubled."""
    rows, columns = len(reference), len(hypothesis)
    if min(rows, columns) < radius + 2:
        return _warp(reference, hypothesis, np.zeros(rows, np.int64), np.full(rows, columns, np.int64), False)
    coarse_rows, coarse_columns, _ = _warp_coarse_to_fine(_halved(reference), _halved(hypothesis), radius)
    halves = np.arange(rows) // 2
    first = np.searchsorted(coarse_rows, np.maximum(halves - radius, 0), side="left")
    last = np.searchsorted(coarse_rows, halves + radius, side="right") - 1
    starts = np.maximum(2 * (coarse_columns[first] - radius), 0)
    ends = np.minimum(2 * (coarse_columns[last] + radius) + 2, columns)
    return _warp(reference, hypothesis, starts, ends, False)


def _halved(frames: np.ndarray) -> np.ndarray:
    """Return the means of neighbors; a last frame without one is dropped."""
    even = len(frames) - len(frames) % 2
    return (frames[:even:2] + frames[1:even:2]) / 2


@njit(cache=True, fastmath={"reassoc", "contract"})
@no_type_check
def _distance(one, other):
    squares = 0.0
    for feature in range(len(one)):
        squares += (one[feature] - other[feature]) ** 2
    return np.sqrt(squares)


@njit(cache=True)
@no_type_check
def _warp(reference, hypothesis, starts, ends, shortest):
    """Fill the table inside the window [starts, ends) of each row, then walk back from its last cell.

    Among equal costs the shortest path wins if `shortest`; else the order is reference, hypothesis, both.
    """
    rows, columns = len(reference), len(hypothesis)
    moves = np.zeros((rows, np.max(ends - starts)), np.uint8)
    above, above_steps = np.full(columns + 1, np.inf), np.zeros(columns + 1, np.int64)
    here, here_steps = np.full(columns + 1, np.inf), np.zeros(columns + 1, np.int64)
    above[0] = 0.0
    for row in range(rows):
        here[starts[row]] = np.inf
        for column in range(starts[row], ends[row]):
            cost, steps, move = above[column + 1], above_steps[column + 1], _REFERENCE
            candidate, count = here[column], here_steps[column]
            if candidate < cost or (shortest and candidate == cost and count < steps):
                cost, steps, move = candidate, count, _HYPOTHESIS
            candidate, count = above[column], above_steps[column]
            if candidate < cost or (shortest and candidate == cost and count <= steps):
                cost, steps, move = candidate, count, _BOTH
            here[column + 1] = cost + _distance(reference[row], hypothesis[column])
            here_steps[column + 1] = steps + 1
            moves[row, column - starts[row]] = move
        here[ends[row] + 1 :] = np.inf
        above, here = here, above
        above_steps, here_steps = here_steps, above_steps
    path_rows, path_columns = _walk_back(moves, starts, columns, above_steps[columns])
    return path_rows, path_columns, above[columns]


@njit(cache=True)
@no_type_check
def _walk_back(moves, starts, columns, steps):
    path_rows, path_columns = np.empty(steps, np.int64), np.empty(steps, np.int64)
    row, column = len(moves) - 1, columns - 1
    for step in range(steps - 1, -1, -1):
        path_rows[step], path_columns[step] = row, column
        move = moves[row, column - starts[row]]
        row -= move != _HYPOTHESIS
        column -= move != _REFERENCE
    return path_rows, path_columns
