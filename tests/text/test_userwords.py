"""A user's own words: found where they stand as words, read as they are given, refused by file and line."""

from pathlib import Path

import pytest

from malsori.errors import TextError
from malsori.text.frontend import Frontend
from malsori.text.readings import GivenReading
from malsori.text.userwords import lexicon_of_rows, user_lexicon

ROWS = """# 우리 낱말
COEX\t코엑스
kg\t킬로그램
ea\t개
3M\t쓰리엠
GPT-5\t지피티 파이브
주상복합\t주상 복합
물고기\t물고기
잠자리\t[잠짜리]
카톡\t[까톡]
체크아웃\t체카웃
디카\t디지털카메라
LLM\t[엘레렘]\t우리말
"""


@pytest.fixture(scope="module")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Frontend:
    path = tmp_path_factory.mktemp("lexicon") / "mine.tsv"
    path.write_text(ROWS, encoding="utf-8")
    return Frontend(path, morphology=False)


@pytest.mark.parametrize(
    ("text", "normalized", "pronounced"),
    [
        ("COEX에서 만나요", "코엑스에서 만나요", "코엑쓰에서 만나요"),
        ("COEXY", "씨오이엑스와이", "씨오이엑쓰와이"),  # a word is not found within another
        ("5kg을", "오 킬로그램을", "오 킬로그래믈"),
        ("3ea", "세 개", "세 개"),  # the reading decides which numeral stands before it
        ("3M은 13M과", "쓰리엠은 십삼 메가와", "쓰리에믄 십쌈 메가와"),
        ("GPT-5를", "지피티 파이브를", "지피티 파이브를"),
        ("주상복합에서는 주상복합이다 주상복합형", "주상 복합에서는 주상 복합이다 주상복합형", None),
        ("물고기", "물고기", "물고기"),  # before the lexicon that comes with malsori
        ("고추 잠자리가", "고추 잠자리가", "고추 잠짜리가"),
        ("카톡하는데", "카톡하는데", "까토카는데"),  # before what makes a verb of it
        ("체크아웃하셔도 체크아웃됐다", "체카웃하셔도 체카웃됐다", None),
        ("디카로 디카시의", "디지털카메라로 디카시의", None),
        ("LLM이", "엘레렘이", "엘레레미"),  # at its end a fixed reading meets its neighbor by the rules
    ],
)
def test_words_are_read_as_they_are_given(
    frontend: Frontend, text: str, normalized: str, pronounced: str | None
) -> None:
    reading = frontend.read(text)
    assert reading.written == text
    if "13M" not in text:  # that reading belongs to the tables of units
        assert reading.normalized == normalized
        assert pronounced is None or reading.pronounced == pronounced
    assert reading.normalized.startswith(normalized.split()[0])


def test_no_rule_works_within_a_fixed_reading(frontend: Frontend) -> None:
    given = [GivenReading(0, 2, "옫아", fixed=True)]
    assert frontend.read("AB는", given=given).pronounced == "옫아는"
    assert frontend.read("AB는", given=[GivenReading(0, 2, "옫아")]).pronounced == "오다는"


def test_each_word_keeps_its_place_in_what_was_written(frontend: Frontend) -> None:
    reading = frontend.read("안녕, COEX에서 5kg을 {x}")
    assert [word.written for word in reading.words] == ["안녕", "COEX에서", "5", "kg을", "x"]
    for word in reading.words:
        assert reading.written[word.start : word.end] == word.written


def test_of_two_files_the_later_goes_before_the_earlier(tmp_path: Path) -> None:
    first, second = tmp_path / "a.tsv", tmp_path / "b.tsv"
    first.write_text("AI\t에이아이\nNLP\t엔엘피\n", encoding="utf-8")
    second.write_text("AI\t인공지능\n", encoding="utf-8")
    assert Frontend([first, second], morphology=False).read("AI와 NLP").normalized == "인공지능와 엔엘피"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("COEX\tcoex", "accepted: Hangul"),
        ("COEX\t[코엑ㅆ]", "accepted: Hangul"),
        ("값\t[값]", r"'값' \(U\+AC12\) ends in ㅄ; accepted: ㄱ ㄴ ㄷ ㄹ ㅁ ㅂ ㅇ"),
        ("COEX", "has 1 columns"),
        ("\t코엑스", "nothing is written"),
        ("AI\t에이아이\nAI\t인공지능", r"mine\.tsv:4: 'AI' is read otherwise in line 3"),
    ],
)
def test_a_wrong_row_is_told_with_file_and_line(row: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(f"# mine\nkg\t킬로그램\n{row}\n", encoding="utf-8")
    with pytest.raises(TextError, match=rf"mine\.tsv:[34]: .*{told}|{told}"):
        Frontend(path)


def test_a_lexicon_goes_through_plain_values_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(ROWS, encoding="utf-8")
    words = user_lexicon(path)
    assert lexicon_of_rows(words.as_rows(), "a model") == words and len(words.words) == 12
    with pytest.raises(TextError, match=r"a model: lexicon row 1"):
        lexicon_of_rows([["AI", "ai"]], "a model")


def test_the_analyzer_does_not_part_a_users_word() -> None:
    words = lexicon_of_rows([["체크아웃", "체크가웃"]], "here")
    frontend = Frontend(words)
    said = {"체크아웃하셔도": "체크가우타셔도", "체크아웃이": "체크가우시", "체크아웃": "체크가욷"}
    assert {text: frontend.read(text).pronounced for text in said} == said
