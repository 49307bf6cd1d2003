"""From a written sentence to the phonemes a voice speaks: the one door that training and speaking both go through."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from malsori.text.cleaning import clean
from malsori.text.hangul import SILENT, compose, is_syllable
from malsori.text.lexicon import Lexicon
from malsori.text.morphology import MorphologicalAnalyzer
from malsori.text.normalize import Normalized, Unreadable, normalize
from malsori.text.plan import PlannedWord, plan_reading
from malsori.text.pronounce import INSIDE, STOP, WORD, Pronunciation, RuleHit, name_articles, pronounce
from malsori.text.readings import GivenReading, rewrite
from malsori.text.symbols import PAUSE, PHONEMES, SENTENCE_ENDS, SPACE, START
from malsori.text.undecided import needs_morphemes
from malsori.text.userwords import LexiconSource, user_lexicon

#: The phonemes and how they are laid out: a voice that learnt others is refused. Saved with every model.
FRONTEND_VERSION = "1"
#: Raised whenever a word may be read otherwise, by the same phonemes: a voice that learnt by older rules speaks, and is
#: told of. Saved with every model; "1" is what a model without it learnt by.
RULES_VERSION = "2"

_EOJEOL = re.compile(r"([가-힣]+)|([,.?!…]+)")
_NOT_SPOKEN = re.compile(r"[^가-힣\s,.?!…]")


@dataclass(frozen=True)
class Word:
    """An eojeol: as written, as spoken (normalized), and where it stands in `Reading.written`."""

    written: str
    spoken: str
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """Every stage of one text on its way to phonemes.

    `breaks` are the signs of punctuation after each word, '' where it goes on to the next.
    `phoneme_syllables` and `phoneme_words` give, for each phoneme, the index into `syllables` and `words`; -1 for
    boundaries. `words[i].start` and `.end` are offsets in `written`, which is the text in NFC without zero-width
    characters. `unreadable` are the signs that stand in `normalized` and `pronounced` as they were written; no phoneme
    stands for them.
    """

    written: str
    normalized: str
    pronounced: str
    rules: tuple[RuleHit, ...]
    phonemes: tuple[str, ...]
    phoneme_syllables: tuple[int, ...]
    phoneme_words: tuple[int, ...]
    syllables: tuple[str, ...]
    words: tuple[Word, ...]
    unreadable: tuple[Unreadable, ...] = ()
    breaks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return {"written", "normalized", "pronounced", "rules": [{"from", "to", "article"}], "phonemes"}."""
        return {
            "written": self.written,
            "normalized": self.normalized,
            "pronounced": self.pronounced,
            "rules": [{"from": hit.source, "to": hit.target, "article": hit.article} for hit in self.rules],
            "phonemes": list(self.phonemes),
        }


class Frontend:
    """Reads Korean text. Cheap to make; tables and the morphological analyzer are loaded when a text first needs them.

    Args:
        lexicon: a user's words, which go before those that come with malsori: a table as `text.userwords` reads it, or
            several, of which the later go before the earlier.
        morphology: ask Kiwi where rules cannot decide. Without it only those places change.
    Raises: TextError naming file and line of a row that cannot be used.
    """

    def __init__(self, lexicon: LexiconSource = None, morphology: bool = True) -> None:
        self.lexicon = user_lexicon(lexicon)
        self._analyzer = MorphologicalAnalyzer() if morphology else None

    def with_lexicon(self, lexicon: LexiconSource) -> "Frontend":
        """Return a front-end that knows more words of a user's, and shares this one's morphological analyzer."""
        more = Frontend(self.lexicon + user_lexicon(lexicon), morphology=False)
        more._analyzer = self._analyzer
        return more

    @cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(self.lexicon)

    def read(self, text: str, keep_unreadable: bool = False, given: Sequence[GivenReading] = ()) -> Reading:
        """Return every stage of a text.

        Args:
            keep_unreadable: list a sign that has no reading, and say the rest, instead of refusing the text.
            given: readings that go before all rules and words; their offsets are of `cleaning.clean(text)`.
        Raises: TextError naming a character that has no reading.
        """
        normalized, fixed = self._normalized(text, keep_unreadable, given)
        words, breaks = _eojeols(normalized)
        if not words:
            return _reading(normalized, words, breaks, Pronunciation((), ()))
        spoken = _NOT_SPOKEN.sub(" ", normalized.text)
        asks = self._analyzer and needs_morphemes(spoken, self._lexicon)
        tokens = self._analyzer.tokens(spoken) if self._analyzer and asks else []
        plan = plan_reading(spoken, tokens, self._lexicon, fixed)
        kinds: list[str] = []
        for word, mark in zip(words, breaks, strict=True):
            kinds += [INSIDE] * (len(word.spoken) - 1) + [STOP if mark else WORD]
        written = "".join(word.spoken for word in words)
        sounds = pronounce(written, plan.spelled, kinds, plan.marks)
        return _reading(normalized, words, breaks, _with_words(sounds, plan.words))

    def normalized(self, text: str, keep_unreadable: bool = False, given: Sequence[GivenReading] = ()) -> Normalized:
        """Return a text as it is read aloud, the user's words put in; arguments as in `read`."""
        return self._normalized(text, keep_unreadable, given)[0]

    def _normalized(
        self, text: str, keep_unreadable: bool, given: Sequence[GivenReading]
    ) -> tuple[Normalized, list[tuple[int, int]]]:
        """Return a text as it is read aloud, and where that is the pronunciation itself."""
        found = [*given, *(self.lexicon.find(clean(text)))]
        if not found:
            return normalize(text, keep_unreadable), []
        rewritten = rewrite(clean(text), found)
        return rewritten.restore(normalize(rewritten.text, keep_unreadable))

    def ids(self, reading: Reading) -> list[int]:
        """Return the ids of a reading's phonemes in the table `PHONEMES`."""
        return PHONEMES.encode(reading.phonemes)


def _with_words(sounds: Pronunciation, words: Sequence[PlannedWord]) -> Pronunciation:
    """Return sounds whose rule hits begin with the words that the lexicon respelled."""
    respelled = []
    for word in words:
        spoken = "".join(compose(*part) for part in sounds.syllables[word.start : word.end])
        respelled.append(RuleHit(word.entry.word, spoken, name_articles(word.entry.article.split(","))))
    return Pronunciation(sounds.syllables, (*respelled, *sounds.hits))


def _eojeols(normalized: Normalized) -> tuple[list[Word], list[str]]:
    """Return the eojeols, and for each the punctuation after it ('' when none)."""
    words: list[Word] = []
    breaks: list[str] = []
    for match in _EOJEOL.finditer(normalized.text):
        if match[1]:
            start, end = normalized.span(match.start(), match.end())
            words.append(Word(normalized.written[start:end], match[1], start, end))
            breaks.append("")
        elif words:
            breaks[-1] += match[2]
    if words and not breaks[-1]:
        breaks[-1] = "."
    return words, breaks


def _end(marks: str) -> str:
    """Return the sentence end that punctuation stands for: a question outweighs an exclamation, that a full stop."""
    if "?" in marks:
        return "?"
    if "!" in marks:
        return "!"
    return "…" if "…" in marks or ".." in marks else "."


def _reading(
    normalized: Normalized,
    words: list[Word],
    breaks: list[str],
    sounds: Pronunciation,
) -> Reading:
    """Return the reading, its phonemes laid out with boundaries and indices."""
    rows: list[tuple[str, int, int]] = [(START, -1, -1)]
    position = 0
    for index, word in enumerate(words):
        for onset, nucleus, coda in sounds.syllables[position : position + len(word.spoken)]:
            if onset != SILENT:
                rows.append((onset, position, index))
            rows.append((nucleus, position, index))
            if coda:
                rows.append((f"-{coda}", position, index))
            position += 1
        if index + 1 < len(words):
            rows.append((PAUSE if breaks[index] else SPACE, -1, -1))
    rows.append((_end(breaks[-1]) if breaks else SENTENCE_ENDS[0], -1, -1))
    sounded = iter([compose(*parts) for parts in sounds.syllables])
    phonemes, phoneme_syllables, phoneme_words = zip(*rows, strict=True)
    return Reading(
        written=normalized.written,
        normalized=normalized.text,
        pronounced="".join([next(sounded) if is_syllable(sign) else sign for sign in normalized.text]),
        rules=sounds.hits,
        phonemes=phonemes,
        phoneme_syllables=phoneme_syllables,
        phoneme_words=phoneme_words,
        syllables=tuple("".join(word.spoken for word in words)),
        words=tuple(words),
        unreadable=normalized.unreadable,
        breaks=tuple(breaks),
    )
