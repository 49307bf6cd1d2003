"""Intervals and verdicts, held by simulation: they must be right as often as they say."""

import numpy as np
import pytest

from malsori.errors import MetricError
from malsori.metrics.significance import bootstrap_intervals, compare, student_quantile

TRUE_RATE = 0.12


def transcripts(generator, utterances, rate=TRUE_RATE):
    """Return edits and lengths of utterances whose difficulty differs, the way real ones do."""
    lengths = generator.integers(5, 40, size=utterances)
    difficulty = generator.beta(2.0, 2.0 / rate - 2.0, size=utterances)
    return generator.binomial(lengths, difficulty).astype(float), lengths.astype(float)


def share_that_hold(utterances, rate, sets, draws):
    """Return the share of simulated test sets whose interval holds the true rate."""
    generator = np.random.default_rng(utterances)
    held = 0
    for seed in range(sets):
        edits, lengths = transcripts(generator, utterances, rate)
        [(low, high)] = bootstrap_intervals(edits[:, None], lengths[:, None], draws=draws, seed=seed)
        held += low <= rate <= high
    return held / sets


@pytest.mark.parametrize("utterances", [20, 100])
def test_95_percent_intervals_hold_the_true_rate_about_as_often(utterances):
    assert 0.92 <= share_that_hold(utterances, TRUE_RATE, sets=300, draws=400) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("utterances", [20, 50, 100, 300])
@pytest.mark.parametrize("rate", [0.02, 0.12, 0.3])
def test_95_percent_intervals_hold_the_true_rate_in_93_to_97_percent_of_1000_draws(rate, utterances):
    assert 0.93 <= share_that_hold(utterances, rate, sets=1000, draws=1000) <= 0.97


def test_measures_without_spread_have_intervals_of_no_width():
    values, ones = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0]]), np.ones((3, 2))
    assert bootstrap_intervals(values, ones) == [(0.0, 0.0), (5.0, 5.0)]


def test_an_interval_of_two_utterances_is_finite_and_holds_what_was_found():
    [(low, high)] = bootstrap_intervals(np.array([[1.0], [2.0]]), np.array([[10.0], [10.0]]))
    assert 0 <= low <= 0.15 <= high < np.inf


def test_no_difference_is_called_about_one_time_in_twenty():
    generator = np.random.default_rng(11)
    called = 0
    for draw in range(250):
        edits, lengths = transcripts(generator, 60)
        other = generator.permutation([0.0, 1.0, -1.0] * 20) + edits
        called += compare("cer", edits, other, lengths, seed=draw).different
    assert called <= 0.08 * 250


def test_a_planted_difference_is_called_and_its_interval_holds_it():
    generator = np.random.default_rng(3)
    called = 0
    for draw in range(50):
        edits, lengths = transcripts(generator, 200)
        better = generator.binomial(edits.astype(int), 0.75).astype(float)
        found = compare("cer", edits, better, lengths, seed=draw)
        called += found.different and found.low <= found.difference <= found.high < 0
    assert called >= 48


def test_the_verdict_says_who_is_better_and_by_how_much():
    edits, lengths = transcripts(np.random.default_rng(0), 100)
    better = compare("wer", edits, edits // 2, lengths)
    assert better.conclusion.startswith("B is better in wer: A 0.1") and "lower in B" in better.conclusion
    assert compare("wer", edits // 2, edits, lengths).conclusion.startswith("A is better")
    assert compare("wer", edits, edits, lengths).conclusion.startswith("No difference in wer can be shown")
    assert better.as_json()["different"] is True


def test_the_same_seed_gives_the_same_interval_and_swapping_the_sides_its_mirror_image():
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(2, 80)) + 5.0
    one, again, other = compare("mcd_db", a, b), compare("mcd_db", a, b), compare("mcd_db", b, a)
    assert one == again
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.matched_pairs_p == other.matched_pairs_p


def test_exchanging_pairs_gives_the_exact_p_of_few_pairs():
    found = compare("mcd_db", np.zeros(6), np.ones(6))
    assert found.matched_pairs_p == pytest.approx(2 / 2**6, abs=0.005)


def test_too_few_or_unequal_utterances_are_told():
    with pytest.raises(MetricError, match="3 and 2 utterances"):
        compare("cer", np.ones(3), np.ones(2))
    assert bootstrap_intervals(np.ones((1, 2)), np.ones((1, 2))) == [None, None]


def test_draws_of_utterances_all_alike_are_known_as_such_through_rounding() -> None:
    words = np.array([3, 5, 3, 15, 9, 9, 15, 11, 6, 3, 5, 6, 7, 3, 7, 15, 5, 4, 5, 9, 7, 8, 9, 7, 12, 10, 4, 9, 7, 6])
    errors = words.copy()
    errors[[19, 23, 25]] += [-1, 1, -1]  # all other utterances have as many errors as words
    [(low, high)] = bootstrap_intervals(errors[:, None].astype(float), words[:, None].astype(float))
    assert 0.95 < low < errors.sum() / words.sum() < high < 1.05


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 101, 1000, 20000])
@pytest.mark.parametrize("probability", [0.005, 0.025, 0.3, 0.5, 0.975])
def test_students_quantiles_are_scipys(freedom, probability):
    special = pytest.importorskip("scipy.special")
    assert student_quantile(probability, freedom) == pytest.approx(special.stdtrit(freedom, probability), abs=1e-10)
