"""Numbers in any reading, and a user's terms: what counts as the same, and what does not."""

import json
from pathlib import Path

import pytest

from malsori import cli
from malsori.errors import MetricError
from malsori.metrics.error_rate import TextNormalizer, cer
from malsori.metrics.keywords import read_keywords, score_keywords
from malsori.metrics.score_card import score
from malsori.metrics.spoken_form import digits_on_one_side, nearest_reading, spoken_pairs, stretches

READ = TextNormalizer(numbers="read", punctuation="removed")


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("3시에 만나요.", "세 시에 만나요"),
        ("12,500원입니다.", "만 이천오백 원입니다"),
        ("12,500원입니다.", "일만이천오백원입니다"),
        ("이십사 시간 동안", "스물네 시간 동안"),
        ("24시간 동안", "스물네 시간 동안"),
        ("스물네 시간 동안", "24시간 동안"),
        ("오후 2:30에", "오후 두 시 삼십 분에"),
        ("사과 20개", "사과 이십 개"),
        ("전화는 119", "전화는 백십구"),
        ("010-1234-5678", "영일영 일이삼사 오육칠팔"),
        ("COVID 19", "코비드 십구"),
        ("2024년 3월 5일", "이천이십사 년 삼 월 오 일"),
        ("12명이 3번 왔다", "열두 명이 세 번 왔다"),
    ],
)
def test_what_was_heard_rightly_costs_nothing(reference: str, hypothesis: str) -> None:
    assert cer(reference, hypothesis, spaces=False, normalizer=READ).edits == 0
    assert cer(hypothesis, reference, spaces=False, normalizer=READ).edits == 0


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits"),
    [
        ("이 사람", "두 사람", 1),  # 이 is no numeral here
        ("십자가를", "열자가를", 1),
        ("24시간", "스물다섯 시간", 2),
        ("삼 개월", "세 개월", 1),  # one that is written out below ten was said so
        ("3시", "네 시", 1),
    ],
)
def test_what_was_misheard_still_counts(reference: str, hypothesis: str, edits: int) -> None:
    assert cer(reference, hypothesis, spaces=False, normalizer=READ).edits == edits


def test_several_numbers_are_chosen_together_and_long_texts_alike() -> None:
    ours, theirs = "12명이 3시에 24시간 동안 ", "열두 명이 세 시에 이십사 시간 동안 "
    for times in (1, 40):
        (said,), (heard,) = spoken_pairs([ours * times], [theirs * times])
        assert said.replace(" ", "") == heard.replace(" ", "")


def test_of_two_readings_that_fit_alike_the_first_is_taken() -> None:
    assert nearest_reading([("가",), ("나", "다"), ("라",)], "가라") == "가나라"
    assert nearest_reading([("가",), ("나", "다라")], "가다라") == "가다라" and nearest_reading([], "가") == ""


def test_digits_of_one_side_only_are_told(capsys) -> None:
    assert digits_on_one_side(["3시", "네 시", "5시"], ["세 시", "네 시", "5시"]) == [0]
    assert cli.run(["score", "3시에 12,500원", "세 시에 만 이천오백 원"]) == 0
    assert "1 of 1 pairs have digits on one side only" in capsys.readouterr().err
    assert cli.run(["score", "3시에 12,500원.", "세 시에 만 이천오백 원", "--normalize", "--json"]) == 0
    told = capsys.readouterr()
    card = json.loads(told.out)
    assert card["cer"]["rate"] == 0 and "|punct:removed|case:kept|numbers:read|" in card["signature"] and not told.err


def test_a_signature_without_it_is_what_it_was() -> None:
    assert "numbers" not in score(["가"], ["가"]).signature
    assert stretches("가나 다") == [("가나 다",)]


def test_two_systems_are_compared_against_references_of_one_length(tmp_path: Path, capsys) -> None:
    files = {"ref": "24시간\n3시\n", "a": "스물네 시간\n세 시\n", "b": "이십사 시간\n네 시\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    paths = [str(tmp_path / f"{name}.txt") for name in ("a", "b", "ref")]
    assert cli.run(["compare", *paths[:2], "--reference", paths[2], "--normalize", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["a"] == 0 and found["b"] > 0


def test_keywords_are_found_with_their_particles_and_not_in_longer_words(tmp_path: Path, capsys) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("# 낱말\n코엑스\n서울 시청\n\nAI\n", encoding="utf-8")
    terms = read_keywords(path)
    ours = ["코엑스에서는 서울 시청까지", "코엑스몰과 AI가", "코엑스, 코엑스"]
    theirs = ["코엑스에서 서울시청 까지", "코엑스와 에이아이가", "코엑스"]
    found = score_keywords(terms, ours, theirs)
    assert [(each.said, each.recognized, each.right) for each in found.terms] == [(3, 3, 2), (1, 1, 1), (1, 0, 0)]
    assert found.recall == pytest.approx(3 / 5) and found.precision == pytest.approx(3 / 4)
    assert score_keywords(terms, ours, theirs, READ).terms[2].right == 1
    for name, texts in (("a.txt", ours), ("b.txt", theirs)):
        (tmp_path / name).write_text("\n".join(texts), encoding="utf-8")
    arguments = ["score", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "--keywords", str(path)]
    assert cli.run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keywords"]["recall"] == pytest.approx(3 / 5)
    assert cli.run(arguments) == 0 and "keyword recall" in capsys.readouterr().out


def test_a_file_without_terms_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.txt").write_text("# 없음\n", encoding="utf-8")
    with pytest.raises(MetricError, match="holds no term"):
        read_keywords(tmp_path / "no.txt")
    assert score_keywords(["가"], ["나"], ["나"]).recall is None
