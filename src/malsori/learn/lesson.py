"""What a lesson is: a text in two languages, numbers that code computes, pictures, sounds, a toy, a question.

The text lies in lessons/NAME.LANGUAGE.md. `{{name}}` in it stands for a computed number; a line of its own holds
`![what it shows](picture)`, `[what is heard](sound:NAME)` or `[what can be done](toy)`. The page of the documentation,
the terminal and the studio are given the same parts in the same order.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from malsori.errors import OptionError

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")

_NUMBER = re.compile(r"\{\{(\w+)\}\}")
_PART = re.compile(r"^!?\[(?P<text>[^\]]*)\]\((?P<kind>picture|toy|sound)(?::(?P<name>[\w-]+))?\)$", re.MULTILINE)
_HEADINGS = {"question": ("물음", "Question"), "explanation": ("풀이", "Explanation")}


@dataclass(frozen=True)
class Clip:
    """A wave (samples,) and its samples a second."""

    wave: np.ndarray
    sample_rate: int


@dataclass(frozen=True)
class LessonPart:
    """A piece of a lesson: Markdown, or the place of a picture, a sound or the toy.

    Attributes:
        kind: what stands here.
        text: Markdown, or in words what is shown, heard or done here.
        name: which sound.
    """

    kind: Literal["text", "picture", "sound", "toy"]
    text: str
    name: str = ""


@dataclass(frozen=True)
class LessonText:
    """A lesson's words in one language, the numbers put in.

    Attributes:
        title: without the sign of a heading.
        summary: the first paragraph, plain.
        parts: what follows, in order.
        question: Markdown.
        explanation: Markdown: the answer, and why.
    """

    title: str
    summary: str
    parts: tuple[LessonPart, ...]
    question: str
    explanation: str


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        name: what `malsori learn` calls it, and its texts' file names.
        compute: its numbers, by the names that the texts call them; numbers as text, rounded as they are shown.
        solve: the answer to its question.
        tolerance: how far a number that is answered may lie from it; 0 where the answer is a word.
        draw: the picture as PNG, in a language; needs the extra `report`.
        play: its sounds by name.
        toy: the name of the script in toys/ that makes the lesson's toy; "" without one.
        toy_data: what the toy is given, as JSON.
    """

    name: str
    compute: Callable[[], dict[str, str]]
    solve: Callable[[], float | str]
    tolerance: float = 0.0
    draw: Callable[[Language], bytes] | None = None
    play: Callable[[], dict[str, Clip]] | None = None
    toy: str = ""
    toy_data: Callable[[], dict[str, Any]] | None = None

    @cached_property
    def numbers(self) -> dict[str, str]:
        """The computed numbers, by name."""
        return self.compute()

    def source(self, language: Language) -> str:
        """Return the text as it was written, numbers by their names."""
        return files("malsori.learn").joinpath("lessons", f"{self.name}.{language}.md").read_text(encoding="utf-8")

    def title(self, language: Language) -> str:
        """Return the title as plain text; no number is computed for it."""
        return self.source(language).partition("\n")[0].removeprefix("# ")

    def read(self, language: Language = "ko") -> LessonText:
        """Return the text with its numbers. Raises: KeyError for a number that the code does not compute."""
        text = _NUMBER.sub(lambda match: self.numbers[match[1]], self.source(language))
        body, question, explanation = _sections(text)
        title, _, rest = body.partition("\n")
        summary, _, body = rest.strip().partition("\n\n")
        return LessonText(
            title.removeprefix("# "), " ".join(summary.split()), tuple(_parts(body)), question, explanation
        )

    def markdown(self, language: Language = "ko") -> str:
        """Return the lesson as plain Markdown, pictures, sounds and the toy told in words."""
        text, italics = self.read(language), {"picture": "🖼", "sound": "🔊", "toy": "🖐"}
        parts = [part.text if part.kind == "text" else f"*{italics[part.kind]} {part.text}*" for part in text.parts]
        ask = _HEADINGS["question"][LANGUAGES.index(language)]
        return "\n\n".join([f"# {text.title}", text.summary, *parts, f"## {ask}", text.question]) + "\n"

    def check(self, answer: str) -> bool:
        """Return whether an answer is right: the number to within the tolerance, or the word but for spaces and case.

        Raises: OptionError if a number is wanted and none is given.
        """
        right = self.solve()
        if isinstance(right, str):
            return "".join(answer.split()).casefold() == "".join(right.split()).casefold()
        try:
            given = float(answer.strip().rstrip("%").replace(",", ""))
        except ValueError as error:
            raise OptionError(f"'{answer}' is no number: lesson '{self.name}' asks for one, such as 0.5") from error
        return abs(given - right) <= self.tolerance


def toy_script(name: str) -> str:
    """Return the JavaScript of a toy, or of what toys have in common ("board")."""
    return files("malsori.learn").joinpath("toys", f"{name}.js").read_text(encoding="utf-8")


def _sections(text: str) -> tuple[str, str, str]:
    """Return what stands before the question, the question, and the explanation."""
    found = []
    for korean, english in _HEADINGS.values():
        before, _, text = re.split(rf"^## ({korean}|{english})$", text, maxsplit=1, flags=re.MULTILINE)
        found.append(before.strip())
    return found[0], found[1], text.strip()


def _parts(body: str) -> Iterator[LessonPart]:
    """Yield the pieces of a lesson's middle."""
    end = 0
    for match in _PART.finditer(body):
        if before := body[end : match.start()].strip():
            yield LessonPart("text", before)
        yield LessonPart(match["kind"], match["text"], match["name"] or "")  # type: ignore[arg-type]
        end = match.end()
    if after := body[end:].strip():
        yield LessonPart("text", after)
