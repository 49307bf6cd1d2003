"""Learning: the lessons."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from malsori.errors import OptionError

if TYPE_CHECKING:
    from malsori.learn.lesson import Lesson

app = typer.Typer()

_SAID = {
    "ko": ("답 (그냥 엔터는 풀이): ", "맞습니다!", "아직 아닙니다.", "풀이", "답을 넣으려면"),
    "en": ("Answer (enter alone for the explanation): ", "Right!", "Not yet.", "Explanation", "To answer"),
}  # fmt: skip


@app.command("learn")
def learn(
    topic: Annotated[str | None, typer.Argument(help="A lesson; all are listed without.")] = None,
    language: Annotated[Literal["ko", "en"], typer.Option(help="Korean or English.")] = "ko",
    answer: Annotated[
        str | None, typer.Option(help="Check an answer to the lesson's question, and explain it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the lesson as an .html page, with picture, sound and toy.")
    ] = None,
) -> None:
    """Lessons on how speech models learn, with numbers that malsori computes. In Korean or English.

    Example: malsori learn · malsori learn ctc · malsori learn gan -o gan.html · malsori learn norms --answer 2
    """
    from malsori.learn.catalog import find_lesson

    if topic is None:
        _refuse_without_topic(answer, out)
        _list(language)
        return
    lesson = find_lesson(topic)
    if out is not None:
        _write(lesson, language, out)
    elif answer is not None:
        _judge(lesson, language, answer)
    else:
        _teach(lesson, language)


def _refuse_without_topic(answer: str | None, out: Path | None) -> None:
    for option, value in (("--answer", answer), ("--out", out)):
        if value is not None:
            raise OptionError(f"{option} wants a lesson; 'malsori learn' lists them")


def _list(language: Literal["ko", "en"]) -> None:
    from malsori.learn.catalog import lessons

    for lesson in lessons():
        print(f"{lesson.name:14} {lesson.title(language)}")


def _write(lesson: "Lesson", language: Literal["ko", "en"], out: Path) -> None:
    from malsori.extras import require
    from malsori.files import write_text
    from malsori.learn.pages import page

    if out.suffix != ".html":
        raise OptionError(f"{out}: a lesson is written as .html")
    require("matplotlib", "A lesson's picture")
    write_text(out, page(lesson, language))
    print(out)


def _judge(lesson: "Lesson", language: Literal["ko", "en"], answer: str) -> None:
    _, right, wrong, explanation, _ = _SAID[language]
    print(right if lesson.check(answer) else wrong)
    _show(f"**{explanation}.** {lesson.read(language).explanation}")


def _teach(lesson: "Lesson", language: Literal["ko", "en"]) -> None:
    _show(lesson.markdown(language))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"{_SAID[language][4]}: malsori learn {lesson.name} --answer ...")
        return
    while given := input(_SAID[language][0]).strip():
        if lesson.check(given):
            break
        print(_SAID[language][2])
    _judge(lesson, language, given) if given else _show(lesson.read(language).explanation)


def _show(markdown: str) -> None:
    """Print Markdown, drawn on a terminal and as it is elsewhere."""
    if not sys.stdout.isatty():
        print(markdown.rstrip("\n"))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=min(100, Console().width)).print(Markdown(markdown))
