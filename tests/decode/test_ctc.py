"""CTC decoding against the sum over every path there is, and against worked examples."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.decode.ctc import BeamOptions, collapse, greedy, greedy_hypothesis, prefix_beam_search

EXACT = BeamOptions(width=100_000, token_floor=-math.inf)


class Bigrams:
    """A language model by a table; row and column 0 stand for the start and the end."""

    def __init__(self, log_probs: np.ndarray) -> None:
        self.log_probs = log_probs
        self.questions = 0

    def start(self) -> int:
        return 0

    def step(self, state: int, token_id: int) -> tuple[float, int]:
        self.questions += 1
        return float(self.log_probs[state, token_id]), token_id

    def finish(self, state: int) -> float:
        return float(self.log_probs[state, 0])

    def text_score(self, tokens: tuple[int, ...]) -> float:
        return sum(self.log_probs[before, after] for before, after in itertools.pairwise((0, *tokens, 0)))


def every_text(log_probs: np.ndarray, blank: int) -> dict[tuple[int, ...], float]:
    """Return each text that the frames can hold, with its log-probability summed over all its paths."""
    frames, vocab = log_probs.shape
    texts: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(vocab), repeat=frames):
        text = tuple(
            symbol for before, symbol in itertools.pairwise((None, *path)) if symbol != before and symbol != blank
        )
        score = float(sum(log_probs[frame, symbol] for frame, symbol in enumerate(path)))
        texts[text] = np.logaddexp(texts.get(text, -math.inf), score)
    return texts


def random_log_probs(seed: int, frames: int, vocab: int, sharpness: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.log(random.dirichlet(np.full(vocab, sharpness), size=frames))


def test_collapse_makes_helo_of_the_seeds_path_and_hello_only_with_a_blank_between():
    assert "".join(collapse(list("__he_llo__"), "_")) == "helo"
    assert "".join(collapse(list("__he_l_lo_"), "_")) == "hello"


@given(st.lists(st.integers(0, 3)), st.integers(0, 3))
def test_collapse_undoes_any_stretching_of_a_text(text, blank):
    tokens = [symbol for symbol in text if symbol != blank]
    stretched = [symbol for token in tokens for symbol in (blank, token, token)]
    assert collapse(stretched, blank) == tokens


def test_greedy_takes_each_frames_best_symbol():
    log_probs = np.log([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    assert greedy(log_probs) == [1, 1]
    heard = greedy_hypothesis(log_probs)
    assert (heard.ids, heard.starts, heard.ends) == ((1, 1), (1, 4), (3, 5))
    assert heard.confidences == pytest.approx([math.sqrt(0.9 * 0.8), 0.6])
    assert heard.score == pytest.approx(math.log(0.6 * 0.9 * 0.8 * 0.7 * 0.6))


def test_greedy_hears_nothing_in_nothing():
    empty = np.zeros((0, 4))
    assert greedy(empty) == []
    assert greedy_hypothesis(empty).ids == ()
    assert prefix_beam_search(empty)[0].ids == ()
    assert greedy_hypothesis(np.log([[0.9, 0.1]] * 3)).ids == ()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 3), st.sampled_from([0.2, 1.0]))
def test_a_wide_beam_sums_exactly_what_all_paths_sum_to(seed, frames, vocab, sharpness):
    log_probs, blank = random_log_probs(seed, frames, vocab, sharpness), seed % vocab
    texts = every_text(log_probs, blank)
    found = prefix_beam_search(log_probs, EXACT, blank=blank, results=len(texts))
    assert {heard.ids: pytest.approx(heard.score) for heard in found} == texts
    assert [heard.score for heard in found] == sorted((heard.score for heard in found), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_with_a_language_model_ranks_as_the_formula_says(seed):
    log_probs = random_log_probs(seed, 6, 3)
    model = Bigrams(random_log_probs(seed + 100, 3, 3))
    options = BeamOptions(width=100_000, language_weight=0.7, token_bonus=0.3, token_floor=-math.inf)
    expected = {
        text: score + 0.7 * model.text_score(text) + 0.3 * len(text) for text, score in every_text(log_probs, 0).items()
    }
    found = prefix_beam_search(log_probs, options, model, results=len(expected))
    assert {heard.ids: pytest.approx(heard.score) for heard in found} == expected
    assert model.questions == len(expected) - 1


def test_a_language_model_turns_the_ear_to_the_likelier_text():
    log_probs = np.log([[0.1, 0.5, 0.4], [0.9, 0.05, 0.05], [0.1, 0.5, 0.4]])
    table = np.log([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    assert prefix_beam_search(log_probs)[0].ids == (1, 1)
    assert prefix_beam_search(log_probs, BeamOptions(language_weight=1.0), Bigrams(table))[0].ids == (1, 2)


def test_a_wider_beam_finds_no_worse_a_text():
    log_probs = random_log_probs(7, 60, 12, sharpness=0.05)
    scores = [
        prefix_beam_search(log_probs, BeamOptions(width=width, token_floor=-math.inf))[0].score
        for width in (1, 4, 16, 64)
    ]
    assert scores == sorted(scores)


def test_a_beam_gives_times_and_confidences_of_its_tokens():
    planted = [0, 2, 2, 0, 0, 1, 0, 1, 3, 3]
    log_probs = np.full((10, 4), math.log(0.05))
    log_probs[np.arange(10), planted] = math.log(0.85)
    heard = prefix_beam_search(log_probs)[0]
    assert (heard.ids, heard.starts, heard.ends) == ((2, 1, 1, 3), (1, 5, 7, 8), (3, 6, 8, 10))
    assert heard.confidences == pytest.approx([0.85] * 4)


def test_prefixes_that_meet_again_after_leaving_the_beam_are_one():
    for seed in range(20):
        log_probs = random_log_probs(seed, 25, 4, sharpness=0.3)
        found = prefix_beam_search(log_probs, BeamOptions(width=3, token_floor=-math.inf), results=3)
        assert len({heard.ids for heard in found}) == len(found)
