"""Intervals and verdicts, held by simulation: they must be right as often as they say."""

import numpy as np
import pytest

from malsori.errors import MetricError
from malsori.metrics.significance import bootstrap_intervals, compare

TRUE_RATE = 0.12


def transcripts(generator, utterances, rate=TRUE_RATE):
    """Return edits and lengths of utterances whose difficulty differs, the way real ones do."""
    lengths = generator.integers(5, 40, size=utterances)
    difficulty = generator.beta(2.0, 2.0 / rate - 2.0, size=utterances)
    return generator.binomial(lengths, difficulty).astype(float), lengths.astype(float)


def test_95_percent_intervals_hold_the_true_rate_in_93_to_97_percent_of_1000_draws():
    generator = np.random.default_rng(7)
    held = 0
    for draw in range(1000):
        edits, lengths = transcripts(generator, 100)
        [(low, high)] = bootstrap_intervals(edits[:, None], lengths[:, None], draws=400, seed=draw)
        held += low <= TRUE_RATE <= high
    assert 930 <= held <= 970


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
    assert better.verdict.startswith("B is better in wer: A 0.1") and "lower in B" in better.verdict
    assert compare("wer", edits // 2, edits, lengths).verdict.startswith("A is better")
    assert compare("wer", edits, edits, lengths).verdict.startswith("No difference in wer can be told")
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
