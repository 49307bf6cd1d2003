"""The demo, whole: the built-in models speak, listen and are measured."""

import json
import re

import pytest

from malsori.demo import SENTENCES, mean_cer, run_demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, run_demo(out)


def test_the_numbers_stand_in_the_report_by_their_promised_names(demo):
    out, said = demo
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert set(report) == {"sentences", "mean_cer"}
    assert [one["text"] for one in report["sentences"]] == list(SENTENCES)
    for one in report["sentences"]:
        assert set(one) == {"text", "heard", "cer", "wer", "seconds", "real_time_factor"}
        assert 1.0 < one["seconds"] < 8.0 and one["real_time_factor"] > 0
    assert report["mean_cer"] == mean_cer(said)


def test_the_built_in_recognizer_understands_much_of_the_built_in_voice(demo):
    _, said = demo
    assert mean_cer(said) < 0.3, [(one.text, one.hypothesis) for one in said]
    assert all(re.fullmatch("[가-힣 .,?!]+", one.hypothesis) for one in said)


def test_the_page_holds_a_player_and_a_picture_for_each_sentence_and_fetches_nothing(demo):
    out, _ = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == page.count("<img") == len(SENTENCES)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert all(sentence in page for sentence in SENTENCES)
