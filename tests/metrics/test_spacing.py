"""Spaces: normalised against a reference, and counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malsori.metrics.error_rate import cer, wer
from malsori.metrics.spacing import count_spaces, match_spacing, spacing_f1

texts = st.lists(st.text(alphabet="가나다", min_size=1, max_size=4), max_size=5).map(" ".join)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "spaced"),
    [
        ("할 수 있다", "할수있다", "할 수 있다"),
        ("할수있다", "할 수 있다", "할수있다"),
        ("아버지가 방에", "아버지 가방애", "아버지가 방애"),
        ("나는 간다", "나는막간다", "나는막 간다"),
        ("나는 간다", "나는 막 간다", "나는 막 간다"),
        ("사랑해", "사 어 랑해", "사어랑해"),
        ("가 나 다", "가 다", "가 다"),
        ("나는 간다", "어 나는 간다 응", "어 나는 간다 응"),
        ("", "네 네", "네 네"),
        ("네 네", "", ""),
    ],
)
def test_the_references_spacing_is_laid_over_the_hypothesis(reference, hypothesis, spaced):
    assert match_spacing(reference, hypothesis) == spaced


@given(texts, texts)
def test_characters_stay_and_errors_do_not_grow(reference, hypothesis):
    spaced = match_spacing(reference, hypothesis)
    assert spaced.replace(" ", "") == hypothesis.replace(" ", "")
    assert cer(reference, spaced, spaces=False) == cer(reference, hypothesis, spaces=False)


@given(texts, st.data())
def test_spacing_faults_alone_leave_no_word_error(reference, data):
    letters = reference.replace(" ", "")
    faulty = "".join(letter + data.draw(st.sampled_from(["", " "])) for letter in letters)
    assert wer(reference, match_spacing(reference, faulty)).edits == 0


@given(texts, texts)
def test_no_more_spaces_are_right_than_there_are(reference, hypothesis):
    right, ours, theirs = count_spaces(reference, hypothesis)
    assert 0 <= right <= min(ours, theirs)
    assert ours == reference.count(" ") and theirs == hypothesis.count(" ")


def test_spacing_f1_weighs_missing_and_added_spaces():
    assert spacing_f1("가 나 다", "가 나 다") == spacing_f1("네", "네") == 1.0
    assert spacing_f1("가 나 다", "가나다") == 0.0
    assert spacing_f1("가 나 다", "가 나다") == pytest.approx(2 / 3)
    assert spacing_f1(["가 나 다", "네"], ["가 나다", "네"]) == pytest.approx(2 / 3)
