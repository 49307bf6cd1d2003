"""The score card, its breakdown, and the files it is read from."""

import json

import pytest

import malsori
from malsori.errors import MetricError
from malsori.metrics.comparison import compare_outputs
from malsori.metrics.error_analysis import (
    Confusion,
    by_length,
    by_rule,
    by_speaker,
    by_speaking_rate,
    jamo_confusions,
    syllable_confusions,
    worst_utterances,
)
from malsori.metrics.error_rate import ErrorRate, TextNormalizer
from malsori.metrics.score_card import RATES, score
from malsori.metrics.transcripts import TextPairs, TranscriptLine, read_pairs
from malsori.report.score_page import save_score_page
from malsori.text.frontend import Frontend

SAID = ["오늘은 날씨가 참 좋네요", "네", "아버지가 방에 들어가신다", "같이 먹는 밥"]
HEARD = ["오늘 날씨가 참 존네요", "네", "아버지 가방에 들어가신다", "가치 먹는 밥"]


@pytest.fixture
def pairs():
    said = [TranscriptLine(f"u{place}", text, "ab"[place % 2], 1.5) for place, text in enumerate(SAID)]
    return TextPairs(tuple(said), tuple(TranscriptLine(f"u{place}", text) for place, text in enumerate(HEARD)))


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_card_holds_every_rate_with_counts_and_interval():
    card = score(SAID, HEARD).as_json()
    assert list(card) == [*RATES, "spacing_f1", "signature"]
    assert card["cer"]["substitutions"] + card["cer"]["deletions"] + card["cer"]["insertions"] == 6
    assert set(card["wer"]) == {"rate", "low", "high", "substitutions", "deletions", "insertions", "reference_length"}
    assert all(card[name]["low"] <= card[name]["rate"] <= card[name]["high"] for name in RATES)
    assert card["swer"]["rate"] < card["wer"]["rate"]
    assert card["sentence_error_rate"] | {"low": 0, "high": 0} == {
        "rate": 0.75, "low": 0, "high": 0, "substitutions": 3, "deletions": 0, "insertions": 0, "reference_length": 4,
    }  # fmt: skip
    json.dumps(card, allow_nan=False)


def test_no_error_seen_and_nothing_right_are_not_taken_for_certain():
    right, wrong = score(SAID, SAID), score(SAID, ["가", "나", "다", "라"])
    assert right.intervals["wer"] == (0.0, pytest.approx(1 - 0.025 ** (1 / 11)))
    assert wrong.intervals["sentence_error_rate"] == (pytest.approx(0.025 ** (1 / 4)), 1.0)
    assert score(SAID * 5, HEARD * 5).intervals["sentence_error_rate"][1] <= 1.0


def test_one_utterance_has_no_interval():
    card = malsori.score("사랑해", "사량해")
    assert card.rates["cer"] == malsori.cer("사랑해", "사량해")
    assert card.as_json()["cer"]["low"] is None


def test_the_signature_tells_the_rules():
    assert (
        "punct:removed|case:folded"
        in score(SAID, HEARD, TextNormalizer(punctuation="removed", case="folded")).signature
    )


def test_nothing_to_score_is_told():
    with pytest.raises(MetricError, match="nothing to score"):
        score([], [])


def test_confusions_are_told_by_syllable_and_by_place_in_it(pairs):
    assert Confusion("은", "", 1) in syllable_confusions(pairs)
    jamo = jamo_confusions(pairs)
    assert Confusion("ㅎ", "ㄴ", 1, "coda") in jamo  # 좋 recognized as 존
    assert (
        Confusion("ㅇ", "ㅊ", 1, "onset") in jamo and Confusion("ㅌ", "∅", 1, "coda") in jamo
    )  # 같이 recognized as 가치


def test_groups_hold_every_utterance_once(pairs):
    for groups in (by_speaker(pairs), by_length(pairs), by_speaking_rate(pairs)):
        assert sum(group.members for group in groups) == 4
        assert sum((group.rate for group in groups), ErrorRate(0, 0, 0, 0)) == score(SAID, HEARD).rates["cer"]


def test_words_misrecognized_are_told_by_the_article_they_fall_under(pairs):
    palatalised = [group for group in by_rule(pairs, Frontend(morphology=False)) if "17" in group.name]
    assert palatalised and palatalised[0].rate.substitutions == 1


def test_the_worst_utterances_come_first_and_right_ones_not_at_all(pairs):
    places = [place for place, _ in worst_utterances(pairs)]
    assert places[0] == 3 and 1 not in places


def test_lines_ids_tables_and_json_lines_pair_alike(tmp_path):
    lines = write(tmp_path, "r.txt", "가 나\n\n네\n"), write(tmp_path, "h.txt", "\ufeff가나\r\n\r\n네")
    assert read_pairs(*lines).hypothesis_texts == ["가나", "", "네"]
    ids = write(tmp_path, "r.tsv", "1\t가\n2\t나\n"), write(tmp_path, "h.tsv", "2\t너\n1\t가\n")
    assert read_pairs(*ids).hypothesis_texts == ["가", "너"]
    table = write(tmp_path, "t.tsv", "speaker\tid\ttext\nkim\t1\t가\nlee\t2\t나\n")
    heard = write(tmp_path, "h.jsonl", '{"file": "x/2.wav", "text": "너"}\n{"file": "x/1.wav", "text": "가"}\n')
    assert read_pairs(table, heard).hypothesis_texts == ["가", "너"]
    assert read_pairs(table, heard).references[1].speaker == "lee"
    assert read_pairs("가 나", "가나").hypothesis_texts == ["가나"]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "told"),
    [
        ("가\n나\n", "가\n", "has 2 lines"),
        ("1\t가\n2\t나\n", "1\t가\n3\t나\n", "2 \\(2, 3\\)"),
        ("1\t가\n1\t나\n", "1\t가\n", "'1' stands there twice"),
        ("가\n", "", "is empty"),
    ],
)
def test_texts_without_a_partner_are_told(tmp_path, reference, hypothesis, told):
    with pytest.raises(MetricError, match=told):
        read_pairs(write(tmp_path, "r.txt", reference), write(tmp_path, "h.txt", hypothesis))


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(MetricError, match="no such file"):
        read_pairs("r.txt", "h.txt")
    with pytest.raises(MetricError, match="no file '네'"):
        read_pairs(write(tmp_path, "r.txt", "네"), "네")
    with pytest.raises(MetricError, match=r"r\.jsonl:1: not JSON"):
        read_pairs(write(tmp_path, "r.jsonl", "네\n"), write(tmp_path, "h.jsonl", "{}"))
    with pytest.raises(MetricError, match=r"r\.jsonl:1: no text"):
        read_pairs(write(tmp_path, "r.jsonl", '{"id": 1}\n'), write(tmp_path, "h.jsonl", "{}"))


def test_two_systems_are_compared_on_their_transcripts_and_on_what_was_measured(tmp_path):
    said = tmp_path / "said.txt"
    said.write_text("\n".join(["오늘은 날씨가 좋네요"] * 40), encoding="utf-8")
    a, b = (tmp_path / name for name in "ab")
    a.write_text("\n".join(["오늘 날씨가 존네요"] * 40), encoding="utf-8")
    b.write_text("\n".join(["오늘은 날씨가 존네요"] * 40), encoding="utf-8")
    found = compare_outputs(a, b, "cer", said)
    assert found.different and found.difference == pytest.approx(-1 / 11)
    rows = [{"id": str(place), "text": "네", "heard": "내", "mcd_db": 5.0 + place % 3} for place in range(30)]
    for name, shift in (("one", 0.0), ("two", 1.0)):
        moved = [row | {"mcd_db": row["mcd_db"] + shift} for row in rows]
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps({"rows": moved}), encoding="utf-8")
    assert compare_outputs(tmp_path / "one", tmp_path / "two", "mcd_db").difference == pytest.approx(1.0)
    assert not compare_outputs(tmp_path / "one", tmp_path / "two", "cer").different
    with pytest.raises(MetricError, match="no number 'mos'; there are: mcd_db"):
        compare_outputs(tmp_path / "one", tmp_path / "two", "mos")
    with pytest.raises(MetricError, match="--reference"):
        compare_outputs(a, b)


def test_the_page_stands_alone_and_shows_what_was_misrecognized(tmp_path, pairs):
    save_score_page(score(SAID, HEARD), pairs, TextNormalizer(), tmp_path / "score.html")
    page = (tmp_path / "score.html").read_text(encoding="utf-8")
    assert "norm:NFC" in page and 'class="missing"' in page and "종성" in page
    assert "http://" not in page and "https://" not in page
