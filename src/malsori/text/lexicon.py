"""Words that rules alone would read wrongly, respelled: 물고기 is read as if it were written 물꼬기.

A respelling says only what rules cannot know (a tensed onset, an inserted ㄴ, a coda reduced before a content word);
the rules then run over it, so 색연필 is respelled 색년필 and comes out as 생년필. A word respelled as itself (불고기)
is shielded from the productive patterns of `morphology`.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise

from malsori.text.tables import table
from malsori.text.userwords import UserLexicon, word_pattern

#: Characters before a homograph that may tell it apart.
_CONTEXT = 60


@dataclass(frozen=True)
class LexiconEntry:
    """A word, how it is respelled (as many syllables), and the article of the regulation that says why.

    fixed: `spoken` is the pronunciation itself; no rule works within it.
    """

    word: str
    spoken: str
    article: str
    fixed: bool = False


@dataclass(frozen=True)
class Match:
    """An entry found in a text, from one offset to another.

    certain: what stands around it says that it is meant.
    standing: it is a user's, and stands as a word, wherever the analyzer cuts.
    """

    start: int
    end: int
    entry: LexiconEntry
    certain: bool = False
    standing: bool = False


class Lexicon:
    """Respelled words, longest first, and homographs that their neighbors tell apart."""

    def __init__(self, user: UserLexicon = UserLexicon()) -> None:  # noqa: B008 -- frozen, and empty
        self._homographs: dict[str, list[tuple[str, ...]]] = {}
        self._rows: dict[str, tuple[str, ...]] = {row[0]: row for row in table("lexicon.tsv", 3)}
        for row in table("homographs.tsv", 5):
            self._homographs.setdefault(row[0], []).append(row)
        self._own: dict[str, LexiconEntry] = {}  # before all others
        for own in user.respelled:
            self._homographs.pop(own.written, None)
            self._own[own.written] = LexiconEntry(own.written, own.spoken, own.article or "사전", own.fixed)
        standing = sorted(self._own, key=lambda word: -len(word))
        self._standing = re.compile("|".join(map(word_pattern, standing))) if standing else None
        lengths: dict[str, set[int]] = {}
        self._words = {*self._rows, *self._homographs, *self._own}
        for word in self._words:
            lengths.setdefault(word[0], set()).add(len(word))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        self._heads = {word[:2] for word in self._words}

    def __len__(self) -> int:
        return len(self._words)

    def entry(self, word: str) -> LexiconEntry | None:
        """Return the entry of a word that is no homograph, None if there is none."""
        row = self._rows.get(word)
        return self._own.get(word) or (LexiconEntry(row[0], row[1], row[2]) if row else None)

    def respelled(self) -> list[LexiconEntry]:
        """Return the entries that are no homographs."""
        return [entry for word in {**self._rows, **self._own} if (entry := self.entry(word))]

    def may_find(self, text: str) -> bool:
        """Return whether any entry stands in a text, wherever its words begin and end."""
        places = range(len(text) + 1)
        heads = chain(map("".join, pairwise(text)), text)  # of words of one syllable too
        return not self._heads.isdisjoint(heads) and bool(self.find(text, places, places))

    def find(self, text: str, starts: Container[int], ends: Container[int]) -> list[Match]:
        """Return the entries in a text, from left to right, the longest at each place.

        Args:
            starts: offsets where a word may begin.
            ends: offsets after which a word may end.
        """
        matches = []
        position = 0
        own = {match.start(): match for match in self._standing.finditer(text)} if self._standing else {}
        while position < len(text):
            if position in own:
                found: Match | None = self._users(own[position])
            else:
                looked_for = position in starts and text[position] in self._lengths
                found = self._at(text, position, ends) if looked_for else None
            if found:
                matches.append(found)
            position = found.end if found else position + 1
        return matches

    def _users(self, found: re.Match[str]) -> Match:
        """Return a user's word that stands in a text."""
        return Match(*found.span(), self._own[found[0]], certain=True, standing=True)

    def _at(self, text: str, start: int, ends: Container[int]) -> Match | None:
        """Return the longest entry that begins at an offset."""
        for length in self._lengths[text[start]]:
            end = start + length
            if end not in ends:
                continue
            word = text[start:end]
            for _, spoken, article, before, after in self._homographs.get(word, ()):
                left = text[max(0, start - _CONTEXT) : start].rstrip()
                if _pattern(f"(?:{before})$").search(left) and _pattern(after).match(text, end):
                    return Match(start, end, LexiconEntry(word, spoken, article), certain=bool(before or after))
            if entry := self.entry(word):
                return Match(start, end, entry)
        return None


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
