"""Normalized Korean as it sounds: the standard pronunciation (표준 발음법), one junction of syllables at a time.

What a coda and the onset after it do to each other depends on the two, on the vowel that follows and on what kind of
boundary lies between them; on nothing further away. So a sentence is a row of junctions, each looked up in
`resolve`, a pure function whose results are remembered. Whatever a junction cannot know by itself (a verb stem, an
adnominal ending, a compound) arrives as a mark on the junction; `frontend` gets marks from the lexicon and from
morphology.

Source: 표준어 규정 제2부 표준 발음법 (National Institute of Korean Language, notice 2017-13).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from malsori.text.hangul import SILENT, compose, decompose

#: Kinds of junction. WORD lies between two eojeols said in one breath, STOP where speech pauses.
INSIDE, WORD, STOP = "", " ", "|"
#: Marks on a junction, from the lexicon or from morphology; several may stand together.
INSERT, CONTENT, STEM, NASAL = "N", "C", "S", "L"
TENSE_SINO, TENSE_ADNOMINAL, TENSE_COMPOUND, TENSE_LEXICAL = "H", "A", "K", "W"
FIXED = "F"  # the sounds on both sides stand as they are given
TENSE = {TENSE_SINO: "26", TENSE_ADNOMINAL: "27", TENSE_COMPOUND: "28", TENSE_LEXICAL: "사전"}

NEUTRAL = dict(zip("ㄱㄲㅋㄳㄺ", "ㄱ" * 5, strict=True)) | dict(zip("ㄷㅅㅆㅈㅊㅌㅎ", "ㄷ" * 7, strict=True))
NEUTRAL |= dict(zip("ㅂㅍㅄㄿ", "ㅂ" * 4, strict=True)) | dict(zip("ㄴㄵㄶ", "ㄴ" * 3, strict=True))
NEUTRAL |= dict(zip("ㄹㄼㄽㄾㅀ", "ㄹ" * 5, strict=True)) | {"ㅁ": "ㅁ", "ㄻ": "ㅁ", "ㅇ": "ㅇ", "": ""}
SPLIT = {
    row[0]: (row[1], row[2])
    for row in (
        "ㄳㄱㅅ",
        "ㄵㄴㅈ",
        "ㄶㄴㅎ",
        "ㄺㄹㄱ",
        "ㄻㄹㅁ",
        "ㄼㄹㅂ",
        "ㄽㄹㅅ",
        "ㄾㄹㅌ",
        "ㄿㄹㅍ",
        "ㅀㄹㅎ",
        "ㅄㅂㅅ",
    )
}
FORTIS = {"ㄱ": "ㄲ", "ㄷ": "ㄸ", "ㅂ": "ㅃ", "ㅅ": "ㅆ", "ㅈ": "ㅉ"}
ASPIRATE = {"ㄱ": "ㅋ", "ㄷ": "ㅌ", "ㅂ": "ㅍ", "ㅈ": "ㅊ"}
NASALS = {"ㄱ": "ㅇ", "ㄷ": "ㄴ", "ㅂ": "ㅁ"}
PALATAL = {"ㄷ": "ㅈ", "ㅌ": "ㅊ"}
GLIDES = {"ㅑ": "ㅏ", "ㅕ": "ㅓ", "ㅛ": "ㅗ", "ㅠ": "ㅜ", "ㅒ": "ㅐ", "ㅖ": "ㅔ"}
I_LIKE = frozenset("ㅣㅑㅕㅛㅠㅒㅖ")


@dataclass(frozen=True)
class RuleHit:
    """One change: the syllables as they came, as they sound, and the article of the regulation that says so."""

    source: str
    target: str
    article: str


@dataclass(frozen=True)
class Junction:
    """What one junction makes of its coda, its onset and the nucleus after it, and the articles that applied."""

    coda: str
    onset: str
    nucleus: str
    articles: tuple[str, ...]


@lru_cache(maxsize=65536)
def resolve(coda: str, onset: str, nucleus: str, tail: str, kind: str, marks: str) -> Junction:
    """Return how a coda and the syllable after it sound together.

    Args:
        coda, onset, nucleus, tail: coda of the first syllable; onset, nucleus and coda of the second.
        kind: INSIDE, WORD or STOP.
        marks: any of the marks above, joined.
    """
    articles: list[str] = []
    written = onset
    if kind == STOP or not nucleus:
        return Junction(_final(coda, articles), onset, _vowel(onset, nucleus, articles), tuple(articles))
    if onset == SILENT and INSERT in marks and coda and nucleus in I_LIKE:
        onset, coda = "ㄴ", _final(coda, articles)
        articles.append("29")
    elif coda and (CONTENT in marks or (kind == WORD and coda not in "ㄴㄹㅁㅇ")) and onset in (SILENT, "ㅎ"):
        neutral = _final(coda, articles)
        if neutral != coda:
            articles.append("15")
        coda = neutral
    coda, onset, nucleus = _meet(coda, onset, nucleus, tail, kind, marks, articles)
    for mark in marks:
        if mark in TENSE and onset in FORTIS:
            onset = FORTIS[onset]
            articles.append(TENSE[mark])
    nucleus = _vowel(onset if written != SILENT or onset in "ㅈㅉㅊ" else SILENT, nucleus, articles)
    return Junction(coda, onset, nucleus, tuple(dict.fromkeys(articles)))


def _meet(
    coda: str, onset: str, nucleus: str, tail: str, kind: str, marks: str, articles: list[str]
) -> tuple[str, str, str]:
    """Return coda, onset and nucleus after the articles that need both sides."""
    if onset == SILENT:
        return (*_link(coda, nucleus, kind, marks, articles), nucleus)
    if coda and coda[-1] in "ㅎㄶㅀ" and onset in "ㄱㄷㅈㅅㄴ" and kind == INSIDE:
        return (*_after_h(coda, onset, articles), nucleus)
    if onset == "ㅎ" and coda:
        joined = _before_h(coda, nucleus, tail, kind, articles)
        if joined:
            return (*joined, nucleus)
    return (*_stop(coda, onset, marks, articles), nucleus)


def _link(coda: str, nucleus: str, kind: str, marks: str, articles: list[str]) -> tuple[str, str]:
    """Return coda and onset when a vowel follows (제12항 4, 제13항, 제14항, 제17항)."""
    if coda in ("", "ㅇ"):
        return coda, SILENT
    if coda == "ㅎ":
        articles.append("12")
        return "", SILENT
    if coda in ("ㄶ", "ㅀ"):
        articles.append("12")
        return "", SPLIT[coda][0]
    stays, moves = SPLIT.get(coda, ("", coda))
    if moves in PALATAL and nucleus in "ㅣㅕ" and kind == INSIDE and CONTENT not in marks:
        articles.append("17")
        return stays, PALATAL[moves]
    articles.append("14" if stays else "13")
    return stays, FORTIS["ㅅ"] if stays and moves == "ㅅ" else moves


def _after_h(coda: str, onset: str, articles: list[str]) -> tuple[str, str]:
    """Return coda and onset where ㅎ, ㄶ or ㅀ meets ㄱㄷㅈㅅㄴ (제12항 1-3)."""
    articles.append("12")
    stays = SPLIT[coda][0] if coda in SPLIT else ""
    if onset == "ㅅ":
        return stays, "ㅆ"
    if onset == "ㄴ":
        if stays == "ㄹ":
            articles.append("20")
            return "ㄹ", "ㄹ"
        return "ㄴ", "ㄴ"
    return stays, ASPIRATE[onset]


def _before_h(coda: str, nucleus: str, tail: str, kind: str, articles: list[str]) -> tuple[str, str] | None:
    """Return coda and onset where an obstruent meets ㅎ (제12항 1 붙임, 제17항 붙임), None where it is none.

    The passive and causative -히- joins the coda before it is reduced (꽂히다 꼬치다, 밝히다 발키다); any other ㅎ
    begins a morpheme of its own and meets what the coda is reduced to (낮 한때 나탄때, 값하다 가파다).
    """
    passive = kind == INSIDE and (nucleus == "ㅣ" or (nucleus == "ㅕ" and tail in ("", "ㅆ", "ㅅ")))
    stays, moves = SPLIT.get(coda, ("", coda))
    if not passive or moves not in "ㄱㄷㅂㅈ":
        stays, moves = "", NEUTRAL[coda]
    if moves not in ASPIRATE:
        return None
    articles.append("12")
    if passive and moves == "ㄷ" and coda == "ㄷ":
        articles.append("17")
        return stays, "ㅊ"
    return stays, ASPIRATE[moves]


def _stop(coda: str, onset: str, marks: str, articles: list[str]) -> tuple[str, str]:
    """Return coda and onset where a consonant follows (제9-11항, 제18-20항, 제23-25항)."""
    if STEM in marks and coda == "ㄺ" and onset == "ㄱ":
        articles.append("11")
        return "ㄹ", "ㄲ"
    if STEM in marks and coda in ("ㄴ", "ㄵ", "ㅁ", "ㄻ", "ㄼ", "ㄾ") and onset in FORTIS:
        articles.append("25" if coda in "ㄼㄾ" else "24")
        return _final(coda, articles), FORTIS[onset]
    last = SPLIT[coda][1] if coda in SPLIT else coda
    reduced = _final(coda, articles)
    if (reduced in NASALS and onset in FORTIS) or (last in "ㅅㅈ" and coda in SPLIT and onset in FORTIS):
        articles.append("23")
        return reduced, FORTIS[onset]
    if onset == "ㄹ" and (reduced in NASALS or reduced in ("ㅁ", "ㅇ") or (reduced == "ㄴ" and NASAL in marks)):
        articles.append("20" if reduced == "ㄴ" else "19")
        onset = "ㄴ"
    if reduced in NASALS and onset in "ㄴㅁ":
        articles.append("18")
        return NASALS[reduced], onset
    if (reduced, onset) in (("ㄴ", "ㄹ"), ("ㄹ", "ㄴ")):
        articles.append("20")
        return "ㄹ", "ㄹ"
    return reduced, onset


def _final(coda: str, articles: list[str]) -> str:
    """Return the one of seven sounds that a coda is reduced to (제9항, 제10항, 제11항)."""
    sound = NEUTRAL[coda]
    if sound != coda:
        articles.append("9" if coda not in SPLIT else "10" if coda not in "ㄺㄻㄿ" else "11")
    return sound


def _vowel(onset: str, nucleus: str, articles: list[str]) -> str:
    """Return the nucleus as it sounds after an onset (제5항 다만 1, 다만 3)."""
    if onset and onset in "ㅈㅉㅊ" and nucleus in GLIDES:
        articles.append("5")
        return GLIDES[nucleus]
    if nucleus == "ㅢ" and onset not in (SILENT, ""):
        articles.append("5")
        return "ㅣ"
    return nucleus


Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Pronunciation:
    """Sounded syllables (onset, nucleus, coda), one for each written syllable, and the rules that made them."""

    syllables: tuple[Triple, ...]
    hits: tuple[RuleHit, ...]


def pronounce(written: str, spelled: str, kinds: Sequence[str], marks: Sequence[str]) -> Pronunciation:
    """Return how a row of syllables sounds.

    Args:
        written: syllables without spaces.
        spelled: as many syllables, some respelled by the lexicon.
        kinds: for each syllable the kind of junction after it; the last is STOP.
        marks: for each syllable the marks on that junction.
    """
    triples = [decompose(syllable) for syllable in spelled]
    onsets = [triple[0] for triple in triples]
    nuclei = [triple[1] for triple in triples] + [""]
    codas = [triple[2] for triple in triples]
    onsets.append("")
    codas.append("")
    changed: list[tuple[int, tuple[str, ...]]] = []
    first: list[str] = []
    nuclei[0] = _vowel(onsets[0], nuclei[0], first)
    if first:
        changed.append((-1, tuple(first)))
    for index, kind in enumerate(kinds):
        after = index + 1
        if FIXED in marks[index]:
            continue
        junction = resolve(codas[index], onsets[after], nuclei[after], codas[after], kind, marks[index])
        if junction.articles:
            codas[index], onsets[after], nuclei[after] = junction.coda, junction.onset, junction.nucleus
            changed.append((index, junction.articles))
    sounded = tuple(zip(onsets[:-1], nuclei[:-1], codas[:-1], strict=True))
    return Pronunciation(sounded, _hits(written, sounded, kinds, changed))


def _hits(
    written: str, sounded: Sequence[Triple], kinds: Sequence[str], changed: Sequence[tuple[int, tuple[str, ...]]]
) -> tuple[RuleHit, ...]:
    """Return each changed junction as its two syllables (one, at an end) before and after."""
    hits = []
    for index, articles in changed:
        first = max(index, 0)
        last = first if index < 0 or kinds[index] == STOP else first + 1
        between = kinds[index] if last > first else ""
        source = between.join(written[first : last + 1])
        target = between.join(compose(*part) for part in sounded[first : last + 1])
        if articles and source != target:
            hits.append(RuleHit(source, target, name_articles(articles)))
    return tuple(hits)


def name_articles(articles: Iterable[str]) -> str:
    """Return articles as they are cited: '제18항, 제13항'; what is no number ('사전') stands as it is."""
    return ", ".join(f"제{article}항" if article[0].isdigit() else article for article in articles)
