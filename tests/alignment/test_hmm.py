"""The chain of a reading: its paths against every path there is, and what its windows let through."""

import itertools
import math

import numpy as np
import pytest

from malsori.alignment.hmm import STATES, Chain, best_path, chain_of, occupancy

from .test_phonemes import reading_of

LEAVE = np.full(3 * 80, 0.3)


def all_paths(chain: Chain, frames: int) -> list[list[int]]:
    """Every sequence of states that the chain allows, found by walking."""
    count = len(chain.states)

    def from_here(path: list[int]) -> list[list[int]]:
        if len(path) == frames:
            ends = {count - 1, count - 1 - STATES}
            return [path] if path[-1] in ends else []
        here = path[-1]
        following = [here, here + 1]
        if here + 1 + STATES < count and chain.passes[here + 1 + STATES]:
            following.append(here + 1 + STATES)
        return [whole for state in following if state < count for whole in from_here([*path, state])]

    firsts = [0] + [STATES] * bool(count > STATES and chain.passes[STATES])
    return [path for first in firsts for path in from_here([first])]


def score_of(path: list[int], chain: Chain, scores: np.ndarray) -> float:
    total = sum(scores[t, state] for t, state in enumerate(path))
    for before, after in itertools.pairwise(path):
        leave = LEAVE[chain.states[before]]
        total += math.log(1 - leave) if before == after else math.log(leave)
    return total


@pytest.fixture(scope="module")
def small() -> tuple[Chain, np.ndarray]:
    """A word of one phoneme between silences, in nine frames with random scores."""
    reading = reading_of("ㅏ")
    chain = chain_of(reading, np.ones(3, dtype=bool), None, 9)
    return chain, np.random.default_rng(0).normal(0, 2, (9, len(chain.states)))


def test_the_best_path_and_the_shares_are_those_of_all_paths_together(small: tuple[Chain, np.ndarray]) -> None:
    chain, scores = small
    paths = all_paths(chain, 9)
    assert len(paths) > 50
    weights = np.array([score_of(path, chain, scores) for path in paths])
    best, score = best_path(chain, scores, LEAVE)
    assert score == pytest.approx(weights.max())
    assert best.tolist() == chain.tokens[paths[int(weights.argmax())]].tolist()
    shares, total = occupancy(chain, scores, LEAVE)
    assert total == pytest.approx(np.logaddexp.reduce(weights))
    expected = np.zeros_like(shares)
    for path, weight in zip(paths, np.exp(weights - total), strict=True):
        expected[np.arange(9), path] += weight
    np.testing.assert_allclose(shares, expected, atol=1e-9)


def test_silence_between_words_may_be_passed_by_and_is_kept_where_it_is_not_allowed_out() -> None:
    reading = reading_of("ㅏ", "ㅣ")
    assert len(chain_of(reading, np.ones(5, dtype=bool), None, 30).states) == 5 * STATES
    without = chain_of(reading, np.array([True, False, False, False, True]), None, 30)
    assert sorted(set(without.tokens.tolist())) == [0, 1, 3, 4]  # ^ ㅏ ㅣ .
    assert not without.passes[2 * STATES]  # from ㅏ straight to ㅣ there is nothing to pass by
    assert without.passes[STATES]


def test_windows_hold_the_tokens_that_their_bounds_allow_and_give_the_same_path_when_they_are_wide() -> None:
    reading = reading_of("ㄴㅏ.ㅁㅜ", "ㄱㅏ")
    tokens, frames = len(reading.phonemes), 60
    everything = chain_of(reading, np.ones(tokens, dtype=bool), None, frames)
    middle = np.linspace(0, frames, tokens + 1).round().astype(int)
    scores = np.random.default_rng(1).normal(0, 1, (frames, len(everything.states)))
    for token in range(tokens):  # each token likeliest in its own stretch
        scores[middle[token] : middle[token + 1], everything.tokens == token] += 8
    narrow = chain_of(reading, np.ones(tokens, dtype=bool), (middle[:-1] - 9, middle[1:] + 9), frames)
    assert narrow.width < everything.width / 1.5
    seen = np.minimum(narrow.firsts[:, None] + np.arange(narrow.width), len(narrow.states) - 1)
    for t in range(frames):
        allowed = set(narrow.tokens[narrow.firsts[t] : narrow.lasts[t] + 1].tolist())
        assert allowed == {n for n in range(tokens) if middle[n] - 9 <= t < middle[n + 1] + 9}
    wide_path, wide_score = best_path(everything, scores, LEAVE)
    path, score = best_path(narrow, np.take_along_axis(scores, seen, 1), LEAVE)
    assert path.tolist() == wide_path.tolist() and score == pytest.approx(wide_score)


def test_too_few_frames_for_the_states_have_no_path() -> None:
    chain = chain_of(reading_of("ㄴㅏ"), np.ones(4, dtype=bool), None, 5)
    scores = np.zeros((5, len(chain.states)))
    assert best_path(chain, scores, LEAVE)[1] == occupancy(chain, scores, LEAVE)[1] == -math.inf
