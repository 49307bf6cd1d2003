"""The lessons: their words, numbers, questions and pages."""

import itertools
import re
from html.parser import HTMLParser

import pytest

from malsori import cli
from malsori.errors import OptionError
from malsori.learn.catalog import find_lesson, lessons
from malsori.learn.lesson import LANGUAGES, Lesson
from malsori.learn.pages import article, page, to_html

LESSONS = {lesson.name: lesson for lesson in lessons()}
#: Those that have the built-in voice say sentences: some seconds each.
SPOKEN = ("mel-loss", "ground-truth")
QUICK_FIRST = [pytest.param(name, marks=pytest.mark.slow) if name in SPOKEN else name for name in LESSONS]
ANSWERS = {
    "phonemes": 8, "cnn": 13, "rnn": 4, "attention": 0.312, "adam": 1.98, "norms": 2, "mel-loss": 0.69,
    "ground-truth": 86, "duration": 5.3, "gan": 0.5, "ctc": "aab", "cross-entropy": 0.693, "combining": 90.0,
    "metrics": 20,
}  # fmt: skip


def named(lesson: Lesson, language: str, pattern: str) -> list[str]:
    return re.findall(pattern, lesson.source(language), flags=re.MULTILINE)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_the_same_numbers_parts_and_tables_in_both_languages(name):
    lesson = LESSONS[name]
    for pattern in (r"\{\{(\w+)\}\}", r"\]\((picture|toy|sound:\w+)\)$"):
        korean, english = (named(lesson, language, pattern) for language in LANGUAGES)
        assert sorted(korean) == sorted(english) and (korean or pattern.startswith(r"\]"))
    rows = [len(named(lesson, language, r"^\|")) for language in LANGUAGES]
    code = [len(named(lesson, language, r"^```")) for language in LANGUAGES]
    assert rows[0] == rows[1] and code[0] == code[1]


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_every_number_of_a_lesson_is_computed_and_every_computed_one_is_told(name):
    lesson = LESSONS[name]
    assert set(named(lesson, "ko", r"\{\{(\w+)\}\}")) <= set(lesson.numbers)
    for language in LANGUAGES:
        text = lesson.read(language)
        assert text.title and text.summary and text.question and text.explanation
        assert "{{" not in lesson.markdown(language) + text.explanation
        assert re.search("[가-힣]", text.title) or language == "en"


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_the_answer_that_the_code_finds_is_right_and_another_is_not(name):
    lesson, right = LESSONS[name], ANSWERS[name]
    assert lesson.check(str(right))
    assert not lesson.check("helo" if isinstance(right, str) else str(right + 1))


def test_an_answer_that_is_no_number_is_refused_by_name():
    with pytest.raises(OptionError, match="'many' is no number: lesson 'gan'"):
        LESSONS["gan"].check("many")
    assert LESSONS["metrics"].check(" 20 %")


def test_an_unknown_lesson_is_told_with_the_nearest():
    with pytest.raises(OptionError, match=r"no lesson 'cctc'.*'ctc'"):
        find_lesson("cctc")


class Outline(HTMLParser):
    """What a page fetches, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "input", "br", "hr", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(("name", "language"), [("norms", "en"), ("ctc", "ko"), ("gan", "en")])
def test_a_page_holds_all_that_it_shows(name, language):
    pytest.importorskip("matplotlib")
    outline = Outline()
    text = page(LESSONS[name], language)
    outline.feed(text)
    assert not outline.open and f'<html lang="{language}">' in text
    assert outline.sources and all(source.startswith("data:") for source in outline.sources)
    assert "http" not in re.sub(r"data:[^\"]+", "", text).replace("http://www.w3.org", "")


def test_an_article_has_its_files_beside_it():
    pytest.importorskip("matplotlib")
    made = article(LESSONS["gan"], "ko", inline=False, assets="../assets/")
    assert set(made.files) == {"gan.ko.png", "board.js", "gan.js", "gan-data.js"}
    assert made.files["gan.ko.png"].startswith(b"\x89PNG") and '<script src="../assets/gan.js">' in made.body


def test_html_in_a_text_is_shown_and_not_obeyed():
    assert "<script>" not in to_html("a <script>alert(1)</script> b")


def told(words: list[str], capsys) -> tuple[int, str]:
    status = cli.run(words)
    return status, capsys.readouterr().out


def test_the_command_lists_teaches_and_checks(capsys, tmp_path):
    status, out = told(["learn"], capsys)
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == list(LESSONS)
    status, out = told(["learn", "norms", "--language", "en"], capsys)
    assert status == 0 and "**0.75**" in out and "**1.5**" in out and "## Question" in out
    status, out = told(["learn", "norms", "--answer", "2"], capsys)
    assert status == 0 and out.startswith("맞습니다!")
    status, out = told(["learn", "norms", "--answer", "3"], capsys)
    assert status == 0 and out.startswith("아직 아닙니다.")


def test_the_command_refuses_what_it_cannot_do(capsys, tmp_path):
    assert cli.run(["learn", "norm"]) == 2 and "Did you mean 'norms'?" in capsys.readouterr().err
    assert cli.run(["learn", "norms", "-o", str(tmp_path / "page.pdf")]) == 2
    assert cli.run(["learn", "--answer", "2"]) == 2
    assert cli.run(["learn", "norms", "--language", "fr"]) == 2


def test_every_slip_of_the_source_is_named_once_in_a_lesson():
    for language, sign in (("ko", "원문의 실수 (다섯 중 하나)"), ("en", "A slip of the source (one of five)")):
        found = [lesson.name for lesson in lessons() if sign in lesson.source(language)]
        assert found == ["adam", "norms", "ctc", "cross-entropy", "metrics"]


def test_the_order_is_that_of_the_syllabus():
    order = list(LESSONS)
    assert all(
        order.index(a) < order.index(b) for a, b in itertools.pairwise(["phonemes", "adam", "norms", "ctc", "metrics"])
    )
