"""Where transcripts go wrong: which syllables and jamo are confused, after which rule, for whom, in which text."""

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from malsori.metrics.error_rate import AS_WRITTEN, ErrorRate, TextRules, count_utterances, total, units
from malsori.metrics.transcripts import TextPairs

if TYPE_CHECKING:
    from malsori.text.frontend import Frontend

#: Names of the three places in a syllable.
POSITIONS = ("onset", "nucleus", "coda")

#: First members of the groups of utterances by syllables, and by syllables a second.
LENGTHS, RATES = (1.0, 10.0, 20.0, 40.0), (0.0, 3.0, 5.0, 7.0)

_ONSETS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_CODAS = "∅ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


@dataclass(frozen=True)
class Confusion:
    """What was said, what was heard instead (empty: nothing), how often; and where in the syllable, for jamo."""

    said: str
    heard: str
    count: int
    position: str = ""


@dataclass(frozen=True)
class Group:
    """The error rate of some of the utterances, or words, that have something in common."""

    name: str
    members: int
    rate: ErrorRate


def confused_syllables(pairs: TextPairs, rules: TextRules = AS_WRITTEN, most: int = 20) -> list[Confusion]:
    """Return the most frequent changes of characters: heard is empty where one was lost, said where one was added."""
    return [Confusion(*change, count) for change, count in _changes(pairs, rules).most_common(most)]


def confused_jamo(pairs: TextPairs, rules: TextRules = AS_WRITTEN, most: int = 20) -> list[Confusion]:
    """Return which onsets, nuclei and codas of substituted syllables were confused; ∅ is the coda that is not there."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for (said, heard), count in _changes(pairs, rules).items():
        if _is_syllable(said) and _is_syllable(heard):
            both = zip(_spelled(said), _spelled(heard), POSITIONS, strict=True)
            counts.update({(ours, theirs, place): count for ours, theirs, place in both if ours != theirs})
    return [Confusion(ours, theirs, count, place) for (ours, theirs, place), count in counts.most_common(most)]


def by_speaker(pairs: TextPairs, rules: TextRules = AS_WRITTEN) -> list[Group]:
    """Return the character error rate of each speaker that the references name, the worst first."""
    names = [utterance.speaker for utterance in pairs.references]
    return sorted(_groups(pairs, names, rules), key=lambda group: -group.rate.rate)


def by_length(pairs: TextPairs, rules: TextRules = AS_WRITTEN) -> list[Group]:
    """Return the character error rate of utterances of like length in characters without spaces."""
    lengths = [float(len(units(utterance.text, "letters"))) for utterance in pairs.references]
    return _in_order(_groups(pairs, [_bucket(length, LENGTHS, "") for length in lengths], rules))


def by_speaking_rate(pairs: TextPairs, rules: TextRules = AS_WRITTEN) -> list[Group]:
    """Return the character error rate of utterances of like pace, where durations are known."""
    names = [
        _bucket(len(units(said.text, "letters")) / seconds, RATES, " syllables/s")
        if (seconds := said.seconds or heard.seconds)
        else None
        for said, heard in zip(pairs.references, pairs.hypotheses, strict=True)
    ]
    return _in_order(_groups(pairs, names, rules))


def by_rule(pairs: TextPairs, frontend: "Frontend", rules: TextRules = AS_WRITTEN) -> list[Group]:
    """Return, for each article of the Standard Pronunciation that words fall under, how many of them are misheard.

    Args:
        pairs: what was said and heard.
        frontend: reads each word alone and says which articles applied.
    """
    from rapidfuzz.distance import Levenshtein

    words: dict[str, list[bool]] = {}
    articles: dict[str, set[str]] = {}
    sides = (rules.apply(pairs.reference_texts), rules.apply(pairs.hypothesis_texts))
    for said, heard in zip(*sides, strict=True):
        ours = said.split()
        right: set[int] = set()
        for edit in Levenshtein.opcodes(ours, heard.split()):
            if edit.tag == "equal":
                right.update(range(edit.src_start, edit.src_end))
        for place, word in enumerate(ours):
            if word not in articles:
                articles[word] = {str(hit.article) for hit in frontend.read(word).rules}
            for article in articles[word]:
                words.setdefault(article, []).append(place not in right)
    groups = [Group(name, len(wrong), ErrorRate(sum(wrong), 0, 0, len(wrong))) for name, wrong in words.items()]
    return sorted(groups, key=lambda group: -group.rate.substitutions)


def worst(pairs: TextPairs, rules: TextRules = AS_WRITTEN, most: int = 20) -> list[tuple[int, ErrorRate]]:
    """Return places and counts of the utterances of highest character error rate; those without fault are left out."""
    counts = count_utterances(pairs.reference_texts, pairs.hypothesis_texts, "characters", rules)
    rates = [(place, total(counts[place : place + 1])) for place in range(len(counts))]
    return sorted((each for each in rates if each[1].edits), key=lambda each: (-each[1].rate, each[0]))[:most]


def _changes(pairs: TextPairs, rules: TextRules) -> Counter[tuple[str, str]]:
    """Return how often each character was heard as another, without spaces."""
    from rapidfuzz.distance import Levenshtein

    counts: Counter[tuple[str, str]] = Counter()
    for said, heard in zip(rules.apply(pairs.reference_texts), rules.apply(pairs.hypothesis_texts), strict=True):
        ours, theirs = units(said, "letters"), units(heard, "letters")
        for edit in Levenshtein.editops(ours, theirs):
            counts[
                ours[edit.src_pos] if edit.tag != "insert" else "",
                theirs[edit.dest_pos] if edit.tag != "delete" else "",
            ] += 1
    return counts


def _groups(pairs: TextPairs, names: Sequence[str | None], rules: TextRules) -> list[Group]:
    counts = count_utterances(pairs.reference_texts, pairs.hypothesis_texts, "characters", rules)
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name is not None:
            found.setdefault(name, []).append(place)
    return [Group(name, len(places), total(counts[places])) for name, places in found.items()]


def _bucket(value: float, starts: Sequence[float], unit: str) -> str:
    place = max(bisect.bisect_right(starts, value) - 1, 0)
    end = f"-{starts[place + 1]:g}" if place + 1 < len(starts) else "+"
    return f"{starts[place]:g}{end}{unit}"


def _in_order(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: float(group.name.split("-")[0].split("+")[0]))


def _is_syllable(character: str) -> bool:
    return "가" <= character <= "힣"


def _spelled(syllable: str) -> tuple[str, str, str]:
    """Return onset, nucleus and coda as letters that can be read alone."""
    onset, rest = divmod(ord(syllable) - ord("가"), 588)
    nucleus, coda = divmod(rest, 28)
    return _ONSETS[onset], chr(ord("ㅏ") + nucleus), _CODAS[coda]
