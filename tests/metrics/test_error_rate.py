"""Error rates against planted answers, rapidfuzz, and a brute-force oracle."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.alignment.edits import count_edits
from malsori.errors import MetricError
from malsori.metrics import error_rate
from malsori.metrics.error_rate import ErrorRate, TextNormalizer, cer, count_utterances, jamo_error_rate, wer

texts = st.text(alphabet="가나다각 \n á", max_size=14)
long_texts = st.text(alphabet="가나 다", min_size=60, max_size=150)


def distance(reference, hypothesis):
    """Return the fewest edits, by the definition."""
    table = np.zeros((len(reference) + 1, len(hypothesis) + 1), int)
    table[:, 0], table[0] = range(len(reference) + 1), range(len(hypothesis) + 1)
    for row, ours in enumerate(reference, 1):
        for column, theirs in enumerate(hypothesis, 1):
            diagonal = table[row - 1, column - 1] + (ours != theirs)
            table[row, column] = min(diagonal, table[row - 1, column] + 1, table[row, column - 1] + 1)
    return table[-1, -1]


def test_the_seeds_examples_come_out():
    assert cer("사랑해", "사량해") == ErrorRate(1, 0, 0, 3)
    assert wer("I love you", "I like you").rate == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("네", "네", (0, 0, 0, 1)),
        ("네", "", (0, 1, 0, 1)),
        ("", "네", (0, 0, 1, 0)),
        ("", "", (0, 0, 0, 0)),
        ("  네 \n", "네", (0, 0, 0, 1)),
        ("가 나", "가나", (0, 1, 0, 3)),
        ("가　나", "가  나", (0, 0, 0, 3)),
    ],
)
def test_short_empty_and_spaced_texts_count_as_decided(reference, hypothesis, counts):
    assert cer(reference, hypothesis) == ErrorRate(*counts)


def test_an_empty_reference_is_rated_over_one_unit():
    assert cer("", "").rate == 0.0
    assert wer("", "시청해 주셔서 감사합니다").rate == 3.0


def test_nfd_text_scores_as_its_nfc_does():
    reference, hypothesis = "대한민국", "대한민굴"
    decomposed = [unicodedata.normalize("NFD", text) for text in (reference, hypothesis)]
    assert cer(*decomposed) == cer(reference, hypothesis) == ErrorRate(1, 0, 0, 4)


def test_one_wrong_syllable_of_five_is_one_wrong_jamo_of_twelve():
    assert cer("안녕하세요", "안녕하세오").rate == pytest.approx(0.2)
    assert jamo_error_rate("안녕하세요", "안녕하세오") == ErrorRate(1, 0, 0, 12)


def test_an_onset_and_a_coda_of_one_letter_differ():
    assert jamo_error_rate("각", "가ㄱ").edits == 1


def test_cer_without_spaces_ignores_spacing_alone():
    assert cer("아버지가 방에", "아버지 가방에", spaces=False).edits == 0
    assert cer("아버지가 방에", "아버지 가방에").edits == 2


def test_rules_remove_punctuation_and_fold_case():
    normalizer = TextNormalizer(punctuation="removed", case="folded")
    assert wer("Hello, 세계!", "hello 세계", normalizer).edits == 0
    assert wer("Hello, 세계!", "hello 세계").edits == 2


def test_a_corpus_rate_is_the_rate_of_its_sums():
    references, hypotheses = ["가", "가나다라마"], ["나", "가나다라마"]
    assert cer(references, hypotheses).rate == pytest.approx(1 / 6)
    assert sum(map(cer, references, hypotheses), ErrorRate(0, 0, 0, 0)) == cer(references, hypotheses)


def test_unequal_counts_are_told_and_nothing_is_scored():
    with pytest.raises(MetricError, match="2 references, 1 hypotheses"):
        cer(["가", "나"], ["가"])


@given(texts, texts)
def test_edits_are_the_fewest_there_are(reference, hypothesis):
    nfc = [" ".join(unicodedata.normalize("NFC", text).split()) for text in (reference, hypothesis)]
    assert cer(reference, hypothesis).edits == distance(*nfc)
    assert wer(reference, hypothesis).edits == distance(*(text.split() for text in nfc))


@pytest.mark.parametrize("unit", ["characters", "letters", "words"])
@pytest.mark.parametrize("sizes", [texts, long_texts])
def test_the_compiled_pass_counts_as_rapidfuzz_does(unit, sizes, monkeypatch):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=8))
    def check(pairs):
        references, hypotheses = ([*side] for side in zip(*pairs, strict=True))
        expected = count_utterances(references, hypotheses, unit)
        normalizer = error_rate.AS_WRITTEN
        assert (count_edits(normalizer.apply(references), normalizer.apply(hypotheses), unit) == expected).all()

    check()


def test_a_large_corpus_takes_the_compiled_pass_to_the_same_counts(monkeypatch):
    references, hypotheses = ["오늘은 날씨가 참 좋습니다"] * 3, ["오늘 날씨가 참 좋습니까", "", "네"]
    small = count_utterances(references, hypotheses, "jamo")
    monkeypatch.setattr(error_rate, "_COMPILED_ABOVE", (0, 0))
    assert (count_utterances(references, hypotheses, "jamo") == small).all()
