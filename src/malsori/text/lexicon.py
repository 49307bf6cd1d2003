"""Words that rules alone would read wrongly, respelled: 물고기 is read as if it were written 물꼬기.

A respelling says only what rules cannot know (a tensed onset, an inserted ㄴ, a coda reduced before a content word);
the rules then run over it, so 색연필 is respelled 색년필 and comes out as 생년필. A word respelled as itself (불고기)
is shielded from the productive patterns of `morphology`.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from itertools import pairwise

from malsori.text.tables import table
from malsori.text.userwords import UserLexicon, word_pattern

#: Characters before a homograph that may tell it apart.
_CONTEXT = 60

#: The patterns of a homograph's last row, which fits whatever stands around it.
_ANYWHERE = "(?:)$"


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
        self._homographs: dict[str, list[tuple[LexiconEntry, re.Pattern[str], re.Pattern[str]]]] = {}
        self._entries = {row[0]: LexiconEntry(row[0], row[1], row[2]) for row in table("lexicon.tsv", 3)}
        for word, spoken, article, before, after in table("homographs.tsv", 5):
            row = (LexiconEntry(word, spoken, article), re.compile(f"(?:{before})$"), re.compile(after))
            self._homographs.setdefault(word, []).append(row)
        for own in user.respelled:  # before all others
            self._homographs.pop(own.written, None)
            self._entries[own.written] = LexiconEntry(own.written, own.spoken, own.article or "사전", own.fixed)
        standing = sorted((own.written for own in user.respelled), key=lambda word: -len(word))
        self._standing = re.compile("|".join(map(word_pattern, standing))) if standing else None
        self._lengths: dict[str, list[int]] = {}
        for word in {*self._entries, *self._homographs}:
            lengths = self._lengths.setdefault(word[0], [])
            if len(word) not in lengths:
                lengths.append(len(word))
        for lengths in self._lengths.values():
            lengths.sort(reverse=True)
        self._heads = {word[:2] for word in (*self._entries, *self._homographs)}

    def __len__(self) -> int:
        return len(self._entries) + len(self._homographs)

    def entry(self, word: str) -> LexiconEntry | None:
        """Return the entry of a word that is no homograph, None if there is none."""
        return self._entries.get(word)

    def respelled(self) -> list[LexiconEntry]:
        """Return the entries that are no homographs."""
        return list(self._entries.values())

    def may_find(self, text: str) -> bool:
        """Return whether any entry stands in a text, wherever its words begin and end."""
        places = range(len(text) + 1)
        return not self._heads.isdisjoint(map("".join, pairwise(text))) and bool(self.find(text, places, places))

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
                found: Match | None = self._own(own[position])
            else:
                looked_for = position in starts and text[position] in self._lengths
                found = self._at(text, position, ends) if looked_for else None
            if found:
                matches.append(found)
            position = found.end if found else position + 1
        return matches

    def _own(self, found: re.Match[str]) -> Match:
        """Return a user's word that stands in a text."""
        return Match(*found.span(), self._entries[found[0]], certain=True, standing=True)

    def _at(self, text: str, start: int, ends: Container[int]) -> Match | None:
        """Return the longest entry that begins at an offset."""
        for length in self._lengths[text[start]]:
            end = start + length
            if end not in ends:
                continue
            word = text[start:end]
            for entry, before, after in self._homographs.get(word, ()):
                if before.search(text[max(0, start - _CONTEXT) : start].rstrip()) and after.match(text, end):
                    return Match(start, end, entry, certain=before.pattern + after.pattern != _ANYWHERE)
            if word in self._entries:
                return Match(start, end, self._entries[word])
        return None
