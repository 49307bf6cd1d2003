"""The validation numbers of recognizers are those of `malsori score`, and as each system counted them before."""

import pytest

from malsori.metrics.error_rate import cer
from malsori.train.validation import recognition_error_rates

REFERENCES = ["오늘은 날씨가 참 좋네요", "네", "커피 한 잔", "문이 열렸다"]
HYPOTHESES = ["오늘은날씨가 참 조네요", "", "거피 한잔 주세요", "문이 열렸다"]


def test_error_rates_without_spaces_come_first_and_decide():
    assert list(recognition_error_rates(REFERENCES, HYPOTHESES)) == ["cer_no_space", "cer"]


@pytest.mark.parametrize("dense", [lambda text: text.replace(" ", ""), lambda text: "".join(text.split())])
def test_error_rates_are_those_that_selected_models_before(dense):
    """The Conformer and wav2vec 2.0 took out spaces alone, Whisper all white space: single spaces are all there is."""
    without = [[dense(text) for text in texts] for texts in (REFERENCES, HYPOTHESES)]
    assert recognition_error_rates(REFERENCES, HYPOTHESES) == {
        "cer_no_space": cer(*without).rate,
        "cer": cer(REFERENCES, HYPOTHESES).rate,
    }


def test_white_space_of_any_kind_counts_as_a_space():
    assert recognition_error_rates(["가 나"], [" 가\u3000\t나\n"]) == {"cer_no_space": 0, "cer": 0}
    assert recognition_error_rates(["가 나"], ["가나"]) == {"cer_no_space": 0, "cer": 1 / 3}
