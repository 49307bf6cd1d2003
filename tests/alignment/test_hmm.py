"""The graph of a reading: its paths against every path there is, and what its windows let through."""

import itertools
import math

import numpy as np
import pytest

from malsori.alignment.hmm import STATES, StateGraph, best_path, build_state_graph, occupancy

from .test_phonemes import reading_of

EXIT = np.full(3 * 80, 0.3)


def all_paths(graph: StateGraph, frames: int) -> list[list[int]]:
    """Every sequence of states that the graph allows, found by walking."""
    count = len(graph.states)

    def from_here(path: list[int]) -> list[list[int]]:
        if len(path) == frames:
            ends = {count - 1, count - 1 - STATES}
            return [path] if path[-1] in ends else []
        here = path[-1]
        following = [here, here + 1]
        if here + 1 + STATES < count and graph.skippable[here + 1 + STATES]:
            following.append(here + 1 + STATES)
        return [whole for state in following if state < count for whole in from_here([*path, state])]

    begins = [0] + [STATES] * bool(count > STATES and graph.skippable[STATES])
    return [path for first in begins for path in from_here([first])]


def score_of(path: list[int], graph: StateGraph, scores: np.ndarray) -> float:
    total = sum(scores[t, state] for t, state in enumerate(path))
    for before, after in itertools.pairwise(path):
        leaving = EXIT[graph.states[before]]
        total += math.log(1 - leaving) if before == after else math.log(leaving)
    return total


@pytest.fixture(scope="module")
def small() -> tuple[StateGraph, np.ndarray]:
    """A word of one phoneme between silences, in nine frames with random scores."""
    reading = reading_of("ㅏ")
    graph = build_state_graph(reading, np.ones(3, dtype=bool), None, 9)
    return graph, np.random.default_rng(0).normal(0, 2, (9, len(graph.states)))


def test_the_best_path_and_the_posteriors_are_those_of_all_paths_together(small: tuple[StateGraph, np.ndarray]) -> None:
    graph, scores = small
    paths = all_paths(graph, 9)
    assert len(paths) > 50
    weights = np.array([score_of(path, graph, scores) for path in paths])
    best, score = best_path(graph, scores, EXIT)
    assert score == pytest.approx(weights.max())
    assert best.tolist() == graph.tokens[paths[int(weights.argmax())]].tolist()
    posteriors, total = occupancy(graph, scores, EXIT)
    assert total == pytest.approx(np.logaddexp.reduce(weights))
    expected = np.zeros_like(posteriors)
    for path, weight in zip(paths, np.exp(weights - total), strict=True):
        expected[np.arange(9), path] += weight
    np.testing.assert_allclose(posteriors, expected, atol=1e-9)


def test_silence_between_words_may_be_skipped_and_is_kept_where_it_is_not_allowed_out() -> None:
    reading = reading_of("ㅏ", "ㅣ")
    assert len(build_state_graph(reading, np.ones(5, dtype=bool), None, 30).states) == 5 * STATES
    without = build_state_graph(reading, np.array([True, False, False, False, True]), None, 30)
    assert sorted(set(without.tokens.tolist())) == [0, 1, 3, 4]  # ^ ㅏ ㅣ .
    assert not without.skippable[2 * STATES]  # from ㅏ straight to ㅣ there is nothing to pass by
    assert without.skippable[STATES]


def test_windows_hold_the_tokens_that_their_bounds_allow_and_give_the_same_path_when_they_are_wide() -> None:
    reading = reading_of("ㄴㅏ.ㅁㅜ", "ㄱㅏ")
    tokens, frames = len(reading.phonemes), 60
    everything = build_state_graph(reading, np.ones(tokens, dtype=bool), None, frames)
    middle = np.linspace(0, frames, tokens + 1).round().astype(int)
    scores = np.random.default_rng(1).normal(0, 1, (frames, len(everything.states)))
    for token in range(tokens):  # each token likeliest in its own stretch
        scores[middle[token] : middle[token + 1], everything.tokens == token] += 8
    narrow = build_state_graph(reading, np.ones(tokens, dtype=bool), (middle[:-1] - 9, middle[1:] + 9), frames)
    assert narrow.width < everything.width / 1.5
    seen = np.minimum(narrow.first_states[:, None] + np.arange(narrow.width), len(narrow.states) - 1)
    for t in range(frames):
        allowed = set(narrow.tokens[narrow.first_states[t] : narrow.last_states[t] + 1].tolist())
        assert allowed == {n for n in range(tokens) if middle[n] - 9 <= t < middle[n + 1] + 9}
    wide_path, wide_score = best_path(everything, scores, EXIT)
    path, score = best_path(narrow, np.take_along_axis(scores, seen, 1), EXIT)
    assert path.tolist() == wide_path.tolist() and score == pytest.approx(wide_score)


def test_too_few_frames_for_the_states_have_no_path() -> None:
    graph = build_state_graph(reading_of("ㄴㅏ"), np.ones(4, dtype=bool), None, 5)
    scores = np.zeros((5, len(graph.states)))
    assert best_path(graph, scores, EXIT)[1] == occupancy(graph, scores, EXIT)[1] == -math.inf
