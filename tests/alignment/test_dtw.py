"""Dynamic time warping against the search through every path, and against what fastdtw does."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.alignment.dtw import MAX_CELLS, dtw, fast_dtw
from malsori.errors import AlignmentError

lengths = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def sequences(rows, columns, seed, levels=4):
    """Return two sequences of few distinct values, so that ties are common."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, levels, (length, 2)).astype(float) for length in (rows, columns)]


def cheapest(reference, hypothesis):
    """Return cost and steps of the best path by trying them all."""

    @functools.cache
    def onward(row, column):
        here = float(np.linalg.norm(reference[row] - hypothesis[column]))
        moves = [(row + 1, column), (row, column + 1), (row + 1, column + 1)]
        rest = [onward(*move) for move in moves if move[0] < len(reference) and move[1] < len(hypothesis)]
        cost, steps = min(((round(cost, 9), steps) for cost, steps in rest), default=(0.0, 0))
        return here + cost, steps + 1

    return onward(0, 0)


@settings(max_examples=150, deadline=None)
@given(lengths, lengths, seeds)
def test_no_path_is_cheaper(rows, columns, seed):
    reference, hypothesis = sequences(rows, columns, seed)
    assert dtw(reference, hypothesis).cost == pytest.approx(cheapest(reference, hypothesis)[0])


@settings(max_examples=150, deadline=None)
@given(lengths, lengths, seeds)
def test_among_equal_costs_the_path_is_shortest(rows, columns, seed):
    reference, hypothesis = (np.abs(side[:, :1]) for side in sequences(rows, columns, seed, levels=2))
    path = dtw(reference, hypothesis)
    assert (path.cost, len(path)) == cheapest(reference, hypothesis)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), seeds)
def test_a_path_goes_from_corner_to_corner_by_single_steps_and_costs_what_it_says(rows, columns, seed):
    reference, hypothesis = sequences(rows, columns, seed)
    for path in (dtw(reference, hypothesis), fast_dtw(reference, hypothesis)):
        pairs = np.stack([path.reference_frames, path.hypothesis_frames], axis=1)
        assert pairs[0].tolist() == [0, 0] and pairs[-1].tolist() == [rows - 1, columns - 1]
        assert {tuple(step) for step in np.diff(pairs, axis=0).tolist()} <= {(0, 1), (1, 0), (1, 1)}
        distances = np.linalg.norm(reference[pairs[:, 0]] - hypothesis[pairs[:, 1]], axis=1)
        assert path.cost == pytest.approx(distances.sum())


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), seeds)
def test_sides_can_be_swapped(rows, columns, seed):
    reference, hypothesis = sequences(rows, columns, seed)
    one, other = dtw(reference, hypothesis), dtw(hypothesis, reference)
    assert one.cost == pytest.approx(other.cost) and len(one) == len(other)


def test_a_sequence_lies_on_itself_frame_by_frame():
    frames = sequences(50, 1, 3)[0]
    path = dtw(frames, frames)
    assert path.cost == 0.0 and path.reference_frames.tolist() == path.hypothesis_frames.tolist() == list(range(50))


def test_a_planted_warp_is_found():
    frames = np.random.default_rng(5).normal(size=(40, 6))
    times = np.sort(np.concatenate([np.arange(40), [3, 3, 17, 30, 30]]))
    assert dtw(frames, frames[times]).reference_frames.tolist() == times.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), seeds)
def test_the_fast_path_costs_no_less_and_equals_the_best_where_the_radius_spans_everything(rows, columns, seed):
    reference, hypothesis = sequences(rows, columns, seed)
    best = dtw(reference, hypothesis).cost
    assert fast_dtw(reference, hypothesis).cost >= best - 1e-9
    assert fast_dtw(reference, hypothesis, radius=90).cost == pytest.approx(best)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), seeds, st.booleans())
def test_the_fast_path_is_fastdtws(rows, columns, seed, ties):
    oracle = pytest.importorskip("fastdtw", reason="the package fastdtw is a peer, not a dependency")
    reference, hypothesis = sequences(rows, columns, seed)
    if ties:  # of whole numbers; sums of roots that should be equal differ by what each program rounds
        reference, hypothesis = reference[:, :1], hypothesis[:, :1]
    else:
        chance = np.random.default_rng(seed)
        reference, hypothesis = (chance.normal(size=side.shape) for side in (reference, hypothesis))
    _, pairs = oracle.fastdtw(reference, hypothesis, dist=lambda one, other: np.linalg.norm(one - other))
    path = fast_dtw(reference, hypothesis)
    assert list(zip(path.reference_frames, path.hypothesis_frames, strict=True)) == pairs


def test_what_cannot_be_warped_is_told():
    with pytest.raises(AlignmentError, match="0 and 3 frames"):
        dtw(np.zeros((0, 2)), np.zeros((3, 2)))
    long = np.broadcast_to(np.zeros((1, 2)), (int(MAX_CELLS**0.5) + 1, 2))
    with pytest.raises(AlignmentError, match="cut the recordings into sentences"):
        dtw(long, long)
