"""Where the errors of transcripts lie: confused syllables and jamo, rates by rule, speaker, length and utterance."""

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from malsori.metrics.error_rate import AS_WRITTEN, ErrorRate, TextNormalizer, count_utterances, total, units
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
    """What the reference has, what the hypothesis has instead (empty: nothing), how often; the position, for jamo."""

    reference: str
    hypothesis: str
    count: int
    position: str = ""


@dataclass(frozen=True)
class Group:
    """The error rate of some of the utterances, or words, that have something in common."""

    name: str
    members: int
    rate: ErrorRate


def syllable_confusions(pairs: TextPairs, normalizer: TextNormalizer = AS_WRITTEN, limit: int = 20) -> list[Confusion]:
    """Return the most frequent edits of characters: hypothesis is empty for a deletion, reference for an insertion."""
    return [Confusion(*change, count) for change, count in _changes(pairs, normalizer).most_common(limit)]


def jamo_confusions(pairs: TextPairs, normalizer: TextNormalizer = AS_WRITTEN, limit: int = 20) -> list[Confusion]:
    """Return which onsets, nuclei and codas of substituted syllables were confused; ∅ is the coda that is not there."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for (reference, hypothesis), count in _changes(pairs, normalizer).items():
        if _is_syllable(reference) and _is_syllable(hypothesis):
            both = zip(_spelled(reference), _spelled(hypothesis), POSITIONS, strict=True)
            counts.update({(ours, theirs, place): count for ours, theirs, place in both if ours != theirs})
    return [Confusion(ours, theirs, count, place) for (ours, theirs, place), count in counts.most_common(limit)]


def by_speaker(pairs: TextPairs, normalizer: TextNormalizer = AS_WRITTEN) -> list[Group]:
    """Return the character error rate of each speaker that the references name, the worst first."""
    names = [utterance.speaker for utterance in pairs.references]
    return sorted(_groups(pairs, names, normalizer), key=lambda group: -group.rate.rate)


def by_length(pairs: TextPairs, normalizer: TextNormalizer = AS_WRITTEN) -> list[Group]:
    """Return the character error rate of utterances of like length in characters without spaces."""
    lengths = [float(len(units(utterance.text, "letters"))) for utterance in pairs.references]
    return _in_order(_groups(pairs, [_bucket(length, LENGTHS, "") for length in lengths], normalizer))


def by_speaking_rate(pairs: TextPairs, normalizer: TextNormalizer = AS_WRITTEN) -> list[Group]:
    """Return the character error rate of utterances of like pace, where durations are known."""
    names = [
        _bucket(len(units(reference.text, "letters")) / seconds, RATES, " syllables/s")
        if (seconds := reference.seconds or hypothesis.seconds)
        else None
        for reference, hypothesis in zip(pairs.references, pairs.hypotheses, strict=True)
    ]
    return _in_order(_groups(pairs, names, normalizer))


def by_rule(pairs: TextPairs, frontend: "Frontend", normalizer: TextNormalizer = AS_WRITTEN) -> list[Group]:
    """Return, for each article of the Standard Pronunciation that words fall under, how many of them are wrong.

    Args:
        pairs: references and hypotheses.
        frontend: reads each word alone and says which articles applied.
    """
    from rapidfuzz.distance import Levenshtein

    words: dict[str, list[bool]] = {}
    articles: dict[str, set[str]] = {}
    sides = (normalizer.apply(pairs.reference_texts), normalizer.apply(pairs.hypothesis_texts))
    for reference, hypothesis in zip(*sides, strict=True):
        ours = reference.split()
        right: set[int] = set()
        for edit in Levenshtein.opcodes(ours, hypothesis.split()):
            if edit.tag == "equal":
                right.update(range(edit.src_start, edit.src_end))
        for place, word in enumerate(ours):
            if word not in articles:
                articles[word] = {str(hit.article) for hit in frontend.read(word).rules}
            for article in articles[word]:
                words.setdefault(article, []).append(place not in right)
    groups = [Group(name, len(wrong), ErrorRate(sum(wrong), 0, 0, len(wrong))) for name, wrong in words.items()]
    return sorted(groups, key=lambda group: -group.rate.substitutions)


def worst_utterances(
    pairs: TextPairs, normalizer: TextNormalizer = AS_WRITTEN, limit: int = 20
) -> list[tuple[int, ErrorRate]]:
    """Return places and counts of the utterances of highest character error rate; those without errors are skipped."""
    counts = count_utterances(pairs.reference_texts, pairs.hypothesis_texts, "characters", normalizer)
    rates = [(place, total(counts[place : place + 1])) for place in range(len(counts))]
    return sorted((each for each in rates if each[1].edits), key=lambda each: (-each[1].rate, each[0]))[:limit]


def _changes(pairs: TextPairs, normalizer: TextNormalizer) -> Counter[tuple[str, str]]:
    """Return how often each character was recognized as another, without spaces."""
    from rapidfuzz.distance import Levenshtein

    counts: Counter[tuple[str, str]] = Counter()
    for reference, hypothesis in zip(
        normalizer.apply(pairs.reference_texts), normalizer.apply(pairs.hypothesis_texts), strict=True
    ):
        ours, theirs = units(reference, "letters"), units(hypothesis, "letters")
        for edit in Levenshtein.editops(ours, theirs):
            counts[
                ours[edit.src_pos] if edit.tag != "insert" else "",
                theirs[edit.dest_pos] if edit.tag != "delete" else "",
            ] += 1
    return counts


def _groups(pairs: TextPairs, names: Sequence[str | None], normalizer: TextNormalizer) -> list[Group]:
    counts = count_utterances(pairs.reference_texts, pairs.hypothesis_texts, "characters", normalizer)
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
