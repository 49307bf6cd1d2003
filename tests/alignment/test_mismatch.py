"""Whether text and sound belong together: planted posteriors, and what is told of them."""

import numpy as np
import pytest

from malsori.alignment.ctc import align_ctc
from malsori.alignment.mismatch import MIN_SCORE, describe_mismatch, find_mismatches, posterior_ratio
from malsori.alignment.spans import Alignment, Span

STEP = 0.02


def planted(symbols: list[int]) -> np.ndarray:
    """Log-probabilities of five symbols in which each frame is sure of one."""
    log_probs = np.full((len(symbols), 5), np.log(0.025), dtype=np.float32)
    log_probs[np.arange(len(symbols)), symbols] = np.log(0.9)
    return log_probs


def ratio_of(spoken: list[int], text: list[int]) -> np.ndarray:
    log_probs = planted(spoken)
    return posterior_ratio(log_probs, text, align_ctc(log_probs, text))


def test_a_right_text_costs_nothing_and_another_symbol_its_odds() -> None:
    assert ratio_of([0, 1, 1, 0, 2, 0], [1, 2]) == pytest.approx(0, abs=1e-6)
    wrong = ratio_of([0, 1, 0, 2, 0, 3, 0], [1, 4, 3])
    assert np.flatnonzero(wrong < -0.1).tolist() == [3]
    assert wrong[3] == pytest.approx(np.log(0.025 / 0.9), abs=1e-5)


def test_what_is_said_and_not_written_costs_too() -> None:
    lacking = ratio_of([1, 0, 2, 0, 3, 0, 4], [1, 4])
    assert np.flatnonzero(lacking < -0.1).tolist() == [2, 4]


def test_the_stretch_that_does_not_belong_is_found_with_its_words() -> None:
    ratio = np.zeros(500, dtype=np.float32)
    ratio[200:300:3] = -9.0  # 4 to 6 s
    words = [Span(str(second), second + 0.1, second + 0.9) for second in range(10)]
    (found,) = find_mismatches(words, ratio, STEP)
    assert found.start == pytest.approx(4.0, abs=0.1) and found.end == pytest.approx(6.0, abs=0.1)
    assert found.text == "4 5"
    ratio[400:440:2] = -9.0
    assert len(find_mismatches(words, ratio, STEP)) == 2
    assert find_mismatches(words, np.full(500, -0.1, dtype=np.float32), STEP) == ()
    assert find_mismatches(words[:1], np.full(10, -9.0, dtype=np.float32), STEP)[0].text == "0"


def test_what_is_told_is_one_line_and_nothing_of_what_fits() -> None:
    words = (Span("하나", 0.0, 1.0),)
    assert describe_mismatch(Alignment(words, (), (), 1.0)) == ""  # a voice's own
    assert describe_mismatch(Alignment(words, (), (), 1.0, -0.4)) == ""
    assert "what is said: score -6.0" in describe_mismatch(Alignment(words, (), (), 1.0, -6.0))
    places = tuple(Span("말 " * 40 if place else "", float(place), place + 1.0) for place in range(5))
    told = describe_mismatch(Alignment(words, (), (), 9.0, MIN_SCORE + 0.1, places))
    assert "0.0-1.0 s (no word there)" in told and told.endswith("…) and 2 more") and "\n" not in told
