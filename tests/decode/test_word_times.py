"""When tokens sound: where they are looked from, and never in silence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malsori.decode.word_times import token_steps, without_neighbors, without_pauses


def looking(spans: list[tuple[int, int]], time: int, heads: int = 3) -> np.ndarray:
    """Attention of tokens that each look at a span, and of the end, which looks behind the last."""
    attention = np.full((heads, len(spans) + 1, time), 0.01, dtype=np.float32)
    for token, (first, last) in enumerate([*spans, (spans[-1][1], time)]):
        attention[:, token, first:last] = 1.0
    return attention


def test_tokens_begin_and_end_where_they_are_looked_from() -> None:
    spans = [(20, 30), (30, 45), (45, 60)]
    found = token_steps(looking(spans, 100), np.ones(100, dtype=bool))
    np.testing.assert_allclose(found, spans, atol=3)


def test_a_silence_between_two_tokens_belongs_to_none() -> None:
    speech = np.zeros(300, dtype=bool)
    speech[20:60] = speech[200:260] = True
    spans = [(20, 40), (40, 60), (200, 230), (230, 260)]
    blurred = [(20, 40), (40, 130), (130, 230), (230, 260)]  # a decoder looks anywhere while nobody speaks
    found = token_steps(looking(blurred, 300), speech)
    np.testing.assert_allclose(found, spans, atol=4)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_whatever_is_looked_at_tokens_follow_one_another_and_lie_in_speech(tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    speech = random.random(120) < 0.5
    found = token_steps(random.random((2, tokens + 1, 120), dtype=np.float32), speech)
    if found is None:
        assert speech.sum() < max(tokens + 2, 7)
        return
    assert (found[:, 1] > found[:, 0]).all() and (np.diff(found[:, 0]) >= 0).all() and (np.diff(found[:, 1]) >= 0).all()
    assert speech[found[:, 0]].all() and speech[found[:, 1] - 1].all()


@pytest.mark.parametrize("steps", [0, 5])
def test_too_little_speech_has_no_times(steps: int) -> None:
    speech = np.arange(50) < steps
    assert token_steps(looking([(0, 10), (10, 20)], 50), speech) is None


def test_a_pause_that_the_detector_leaves_in_speech_belongs_to_no_token() -> None:
    levels = np.full(100, -20.0)
    levels[40:48] = -70.0  # a pause
    levels[70:75] = -70.0  # the stop of a tense consonant
    levels[95:] = -70.0
    speech = np.arange(100) < 95
    found = without_pauses(speech, levels)
    np.testing.assert_array_equal(np.flatnonzero(speech & ~found), np.arange(40, 48))
    blurred = looking([(0, 44), (44, 95)], 100)  # looked from anywhere in the pause
    np.testing.assert_array_equal(token_steps(blurred, found)[0:2, [0, 1]][[0, 1], [1, 0]], [40, 48])
    noisy = np.maximum(levels, -50.0)  # under noise nothing is a pause
    np.testing.assert_array_equal(without_pauses(speech, noisy), speech)
    silent = np.zeros(100, dtype=bool)
    np.testing.assert_array_equal(without_pauses(silent, levels), silent)


def test_a_word_ends_before_a_pause_with_a_little_of_its_neighbor_behind() -> None:
    speech = np.ones(100, dtype=bool)
    speech[40:48] = speech[70:78] = False
    assert without_neighbors(20, 52, speech) == (20, 40)
    assert without_neighbors(35, 70, speech) == (48, 70)
    assert without_neighbors(35, 82, speech) == (48, 70)
    assert without_neighbors(20, 69, speech) == (20, 69)  # both parts are as long as syllables: a word with a pause
    assert without_neighbors(41, 46, speech) == (41, 46)
