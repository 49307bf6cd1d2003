"""A user's own words: a table of what is written and how it is read, kept with the models that learnt to read by it.

COEX      코엑스        as read: Hangul, on which the rules of pronunciation then work
kg        킬로그램      a number before it takes the form that the reading asks for (5kg: 오 킬로그램)
물고기    물꼬기        a Hangul word respelled, syllable by syllable: only what rules cannot know
맛있다    [마싣따]      in brackets, as dictionaries give it, the pronunciation itself: no rule works within it
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from malsori.errors import TextError
from malsori.text.cleaning import clean
from malsori.text.hangul import decompose, describe, is_syllable
from malsori.text.readings import GivenReading
from malsori.text.symbols import SOUNDED_CODAS
from malsori.text.tables import choice, numbered_rows

_READING = re.compile(r"\s*(\[)?([가-힣]+(?: [가-힣]+)*)(?(1)\])\s*")


@dataclass(frozen=True)
class UserWord:
    """A row of a user's table.

    Attributes:
        written: any signs, but no tab; capitals count.
        spoken: Hangul syllables, words parted by single spaces.
        fixed: `spoken` is the pronunciation itself; otherwise the rules work on it.
        article: why, for `malsori explain`.
    """

    written: str
    spoken: str
    fixed: bool = False
    article: str = ""

    @property
    def respells(self) -> bool:
        """Whether it respells a Hangul word syllable by syllable, which stays in the text as it is written."""
        return len(self.written) == len(self.spoken) and all(map(is_syllable, self.written + self.spoken))

    def as_row(self) -> list[str]:
        """Return the row's cells, as `parse_word` takes them."""
        return [self.written, f"[{self.spoken}]" if self.fixed else self.spoken, self.article]


@dataclass(frozen=True)
class UserLexicon:
    """A user's words; of two rows for one word the later counts."""

    words: tuple[UserWord, ...] = ()

    def __add__(self, other: "UserLexicon") -> "UserLexicon":
        return UserLexicon(self.words + other.words)

    @cached_property
    def _by_written(self) -> dict[str, UserWord]:
        return {word.written: word for word in self.words}

    @property
    def respelled(self) -> list[UserWord]:
        """The words that stay in the text and are pronounced otherwise."""
        return [word for word in self._by_written.values() if word.respells]

    @cached_property
    def _finder(self) -> re.Pattern[str] | None:
        written = [word.written for word in self._by_written.values() if not word.respells]
        written.sort(key=lambda text: -len(text))
        return re.compile("|".join(map(word_pattern, written))) if written else None

    def find(self, text: str) -> list[GivenReading]:
        """Return where a text holds words that are read otherwise, the longest at each place."""
        return [
            GivenReading(match.start(), match.end(), word.spoken, word.fixed)
            for match in (self._finder.finditer(text) if self._finder else ())
            for word in [self._by_written[match[0]]]
        ]

    def as_rows(self) -> list[list[str]]:
        """Return plain values, for a model's or a corpus's JSON."""
        return [word.as_row() for word in self._by_written.values()]


#: What a lexicon can be given as.
LexiconSource = UserLexicon | Path | str | Sequence[Path | str] | None


def user_lexicon(source: LexiconSource) -> UserLexicon:
    """Return a user's words.

    Args:
        source: one table or several, of which the later go before the earlier; None for no words.
    Raises: TextError naming file and line of a row that cannot be used.
    """
    if source is None or isinstance(source, UserLexicon):
        return source or UserLexicon()
    paths = [source] if isinstance(source, Path | str) else source
    return UserLexicon(tuple(word for path in paths for word in _read(Path(path))))


def lexicon_of_rows(rows: Iterable[Sequence[str]], place: str) -> UserLexicon:
    """Return the words that `UserLexicon.as_rows` wrote. Raises: TextError naming a row that cannot be used."""
    return UserLexicon(
        tuple(parse_word(*row, place=f"{place}: lexicon row {line}") for line, row in enumerate(rows, 1))
    )


def parse_word(written: str, reading: str, article: str = "", *, place: str) -> UserWord:
    """Return a checked row.

    Args:
        written: what stands in texts.
        reading: how it is read; in brackets how it is pronounced.
        article: why; may be left out.
        place: where the row stands, for the message.
    Raises: TextError saying what is accepted.
    """
    written, match = clean(written).strip(), _READING.fullmatch(reading)
    if not written:
        raise TextError(f"{place}: nothing is written there that could be read {reading!r}")
    if not match:
        raise TextError(
            f"{place}: {written!r} is to be read {reading!r}; accepted: Hangul (코엑스), in brackets a sound ([코엑쓰])"
        )
    word = UserWord(written, match[2], match[1] is not None, article)
    if word.fixed:
        for syllable in word.spoken.replace(" ", ""):
            coda = decompose(syllable)[2]
            if coda and coda not in SOUNDED_CODAS:
                raise TextError(
                    f"{place}: {reading!r} is no pronunciation: {describe(syllable)} ends in {coda}; accepted: "
                    f"{' '.join(SOUNDED_CODAS)} (제8항). Without brackets the rules are applied"
                )
    return word


def _read(path: Path) -> Iterable[UserWord]:
    """Yield the words of a table. Raises: TextError naming file and line of a row that cannot be used."""
    lines: dict[str, tuple[int, UserWord]] = {}
    for number, (written, reading, article) in numbered_rows(path, 3).items():
        word = parse_word(written, reading, article, place=f"{path}:{number}")
        before, other = lines.setdefault(word.written, (number, word))
        if (word.spoken, word.fixed) != (other.spoken, other.fixed):
            raise TextError(
                f"{path}:{number}: {word.written!r} is read otherwise in line {before}; keep one of the two"
            )
        yield word


def word_pattern(written: str) -> str:
    """Return the pattern of a text where it stands as a word.

    Letters are not parted; a Hangul word begins its eojeol and takes particles, and of two syllables or more the
    suffixes that make a verb of it.
    """
    before = after = ""
    first, last = written[0], written[-1]
    if is_syllable(first):
        before = "(?<![가-힣])"
    elif first.isalpha():
        before = r"(?<![^\W\d_가-힣])"
    elif first.isdigit():
        before = r"(?<!\d)(?<!\d[.,])"
    if is_syllable(last):
        verbal = f"|{choice('verbal_suffixes')}" if len(written) > 1 else ""
        after = rf"(?={choice('particles')}{{0,2}}(?![가-힣]){verbal})"
    elif last.isalpha():
        after = r"(?![^\W\d_가-힣])"
    elif last.isdigit():
        after = r"(?!\d)(?![.,]\d)"
    return before + re.escape(written) + after
