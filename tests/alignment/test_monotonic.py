"""Monotonic alignment search against every path there is, on scores whose sums are exact in floating point."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.alignment.monotonic import align_monotonic, align_monotonic_batch
from malsori.errors import AlignmentError


def oracle(scores: np.ndarray) -> list[int]:
    """Return the durations of the best of all paths; of equals the one whose last token begins first, and so on back.

    A path is a choice of the frames at which tokens after the first begin.
    """
    frames, tokens = scores.shape

    def key(begins: tuple[int, ...]) -> tuple[float, list[int]]:
        edges = [0, *begins, frames]
        total = sum(float(scores[edges[n] : edges[n + 1], n].sum()) for n in range(tokens))
        return total, [-begin for begin in reversed(begins)]

    best = max(itertools.combinations(range(1, frames), tokens - 1), key=key)
    return np.diff([0, *best, frames]).tolist()


@st.composite
def problems(draw):
    """Draw scores from few values, so that ties abound; with and without forbidden places off the diagonal."""
    tokens = draw(st.integers(1, 5))
    frames = draw(st.integers(tokens, 9))
    values = st.sampled_from([0.0, -0.5, -1.0, -1.5, 2.0])
    scores = draw(st.lists(values, min_size=frames * tokens, max_size=frames * tokens))
    return np.array(scores, dtype=np.float32).reshape(frames, tokens)


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_durations_are_those_of_the_best_path_and_the_promised_one_of_equals(scores):
    assert align_monotonic(scores).tolist() == oracle(scores)


@settings(max_examples=50, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_forbidden_places_are_never_crossed(scores, seed):
    frames, tokens = scores.shape
    random = np.random.default_rng(seed)
    edges = [0, *sorted(random.choice(np.arange(1, frames), tokens - 1, replace=False)), frames]
    open_path = np.concatenate([np.full(b - a, n) for n, (a, b) in enumerate(itertools.pairwise(edges))])
    closed = random.random(scores.shape) < 0.5
    closed[np.arange(frames), open_path] = False
    scores = np.where(closed, -np.inf, scores)
    assert align_monotonic(scores).tolist() == oracle(scores)


def test_a_planted_path_is_found():
    planted = [3, 1, 1, 7, 2, 40, 1]
    scores = np.random.default_rng(0).normal(-5, 1, (sum(planted), len(planted)))
    scores[np.arange(sum(planted)), np.repeat(np.arange(len(planted)), planted)] = 0.0
    assert align_monotonic(scores).tolist() == planted


def test_each_item_of_a_padded_batch_has_its_own_durations():
    random = np.random.default_rng(1)
    sizes = [(40, 12), (9, 9), (25, 1), (60, 33)]
    batch = random.normal(size=(4, 60, 33))
    batch[1, 9:], batch[2, :, 1:] = np.nan, np.inf  # padding may hold anything
    frames, tokens = np.array(sizes).T
    found = align_monotonic_batch(batch, frames, tokens)
    assert found.sum(1).tolist() == frames.tolist()
    for row, scores, (length, count) in zip(found, batch, sizes, strict=True):
        assert row[:count].tolist() == align_monotonic(scores[:length, :count]).tolist()
        assert not row[count:].any()


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((3, 4)), "3 frames cannot be dealt out to 4 tokens"),
        (np.zeros((3, 0)), "to 0 tokens"),
        (np.full((3, 2), np.nan), "NaN"),
        (np.full((3, 2), np.inf), "NaN or .inf"),
        (np.full((3, 2), -np.inf), "every path of the 2 tokens through the 3 frames is forbidden"),
    ],
)
def test_what_cannot_be_aligned_is_refused_with_the_reason(scores, message):
    with pytest.raises(AlignmentError, match=message):
        align_monotonic(scores)
    with pytest.raises(AlignmentError, match=f"item 1 of the batch: .*{message}"):
        sizes = np.array([[1, scores.shape[0]], [1, scores.shape[1]]])
        padded = np.zeros((2, 4, 4))
        padded[1, : scores.shape[0], : scores.shape[1]] = scores
        align_monotonic_batch(padded, *sizes)
