"""What pronunciation must know of a sentence before its rules run: respelled words and marks on junctions."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from malsori.text.elements import mark_elements
from malsori.text.hangul import is_syllable
from malsori.text.lexicon import Lexicon, LexiconEntry, Match
from malsori.text.morphology import Marks, Token, mark
from malsori.text.pronounce import CONTENT, STEM, TENSE, TENSE_ADNOMINAL, TENSE_LEXICAL, TENSE_SINO
from malsori.text.tables import words

_EOJEOL = re.compile(r"[가-힣]+")
#: What the lexicon gives as article where a coda stands before a content word, and for loan words.
CONTENT_ARTICLE, LOAN = "15", "외래어"
#: Stems in ㄺ, ㄼ, ㄾ: before an ending they behave unlike the nouns 닭, 흙, 여덟 (제11항 다만, 제25항).
_CLUSTER_STEM = re.compile("[맑밝읽긁늙묽붉굵갉얽낡옭핥훑넓떫얇짧엷섧]")
#: 밟- keeps ㅂ before every consonant, 넓- in 넓적하다, 넓죽하다, 넓둥글다 (제10항 다만).
_KEPT_B = re.compile("밟(?=[가-깋나-힣])(?![아-잏하-힣])|넓(?=[적죽둥])")
#: What may follow a noun or a stem, for a text without morphemes.
_TAIL = re.compile(
    r"(?:은|는|이|가|을|를|에|의|도|만|로|으로|과|와|랑|이랑|하고|부터|까지|보다|처럼|마다|조차|마저|밖에|뿐|께|에게|한테|에서|"
    r"이나|나|이라|라|인|일|입니|이에|예|이었|였|하|한|할|해|했|함|되|된|될|돼|됐|됨|적|들|님|씩|쯤|고|다|지|게|는|은|어|아|었|았|습니|"
    r"네|던|며|면|으)"
)


#: -(으)ㄹ before a dependent noun and in the endings that begin with it, for a text without morphemes (제27항): 할 수
#: 있다, 갈게요, 빠를수록. What stands before 건, 걸, 적 may be an object (말을 걸다).
_ADNOMINAL = re.compile(
    f"[{''.join(map(chr, range(ord('갈'), ord('힣'), 28)))}]"
    "(?=수(?:록|도|가|는|밖에)|게요|걸요|거(?:예|야|라|다|니|같)| (?:"
    "것|겁니|(?<!을 )(?<!를 )(?:건|걸|적)(?:가요|데|지|가|요|까요|까|이|은)?(?![가-힣])|게(?:요)?(?![가-힣])"
    "|거(?:예|에|야|냐|지|죠|니|고|든|다|라|란|면|는|잖)[가-힣]*|거(?![가-힣])"
    "|순(?![가-힣])|수(?:가|는|도|록|밖에|만|있[가-힣]+|없[가-힣]+)?(?![가-힣])"
    "|(?:줄|지|데|바)(?:은|을|이|가|는|도|를|만|로|에)?(?![가-힣])"
    "|듯|법(?:이|은|도)?[가-힣]{0,2}(?![가-힣])|대로(?![가-힣])|정도(?:로|의|는|면|가)?(?![가-힣])))"
)


@dataclass(frozen=True)
class PlannedWord:
    """A lexicon entry at work: the span of syllables (spaces not counted) that it respells."""

    start: int
    end: int
    entry: LexiconEntry


@dataclass(frozen=True)
class Plan:
    """For each syllable of a text its spelling and the marks on the junction after it; the entries behind them."""

    spelled: str
    marks: tuple[str, ...]
    words: tuple[PlannedWord, ...]


def plan_reading(text: str, tokens: Sequence[Token], lexicon: Lexicon, fixed: Sequence[tuple[int, int]] = ()) -> Plan:
    """Return the plan of a normalized text.

    Args:
        text: Hangul syllables, spaces and punctuation.
        tokens: its morphemes; none if no analyzer is at hand.
        fixed: where the text begins and ends that is its own pronunciation.
    """
    marks = mark(text, tokens)
    mark_elements(marks, tokens)
    for found in _ADNOMINAL.finditer(text) if not tokens else ():
        marks.put(found.start(), TENSE_ADNOMINAL)
    spelled = list(text)
    offsets = [offset for offset, character in enumerate(text) if is_syllable(character)]
    place = {offset: index for index, offset in enumerate(offsets)}
    starts, ends = _analyzed_offsets(text, tokens) if tokens else _unanalyzed_offsets(text)
    inside = _inside_nouns(tokens)
    particles = {token.start for token in tokens if token.tag[0] in "JE" and token.tag not in ("ETM", "ETN")}
    respelled = _mark_clusters(text, spelled, marks, place)
    for match in lexicon.find(text, starts | inside.keys(), ends | inside.keys()):
        meant = match.certain or match.entry.fixed or match.entry.word == text.rstrip(" .,?!…")  # a word cited alone
        cut = not (meant or particles.isdisjoint(range(match.start + 1, match.end)))
        if cut or not _stands(match, starts, ends, inside):
            continue
        marks.clear(match.start, match.end)
        if match.entry.fixed:
            marks.fix(match.start, match.end)
        if match.entry.article == CONTENT_ARTICLE:
            _mark_codas(marks, match)
        elif match.entry.spoken != match.entry.word:
            spelled[match.start : match.end] = match.entry.spoken
            respelled.append(PlannedWord(place[match.start], place[match.end - 1] + 1, match.entry))
    for start, end in fixed:
        spelled[start:end] = text[start:end]
        marks.clear(start, end)
        marks.fix(start, end)
    return Plan(
        "".join([spelled[offset] for offset in offsets]),
        tuple([marks.at.get(offset, "") for offset in offsets]),
        tuple(respelled),
    )


def rules_without_morphemes() -> dict[str, str]:
    """Return the patterns by which `plan_reading` plans a text without morphemes, but for numerals and homographs."""
    patterns = {"tail": _TAIL, "stem": _CLUSTER_STEM, "kept": _KEPT_B, "adnominal": _ADNOMINAL}
    return {name: pattern.pattern for name, pattern in patterns.items()}


def _mark_codas(marks: Marks, match: Match) -> None:
    """Mark the junctions at which a word of the lexicon keeps a coda to itself (제15항)."""
    for offset, (written, spoken) in enumerate(zip(match.entry.word, match.entry.spoken, strict=True), match.start):
        if written != spoken:
            marks.put(offset, CONTENT)


def _mark_clusters(text: str, spelled: list[str], marks: Marks, place: dict[int, int]) -> list[PlannedWord]:
    """Mark stems in a double coda, respell those that keep their ㅂ and return these."""
    for match in _CLUSTER_STEM.finditer(text):
        marks.put(match.start(), STEM)
    kept = []
    for match in _KEPT_B.finditer(text):
        spelled[match.start()] = "밥" if match[0] == "밟" else "넙"
        index = place[match.start()]
        kept.append(PlannedWord(index, index + 1, LexiconEntry(match[0], spelled[match.start()], "10")))
    return kept


def _analyzed_offsets(text: str, tokens: Sequence[Token]) -> tuple[set[int], set[int]]:
    """Return where words may begin and end: at morphemes."""
    starts = {token.start for token in tokens}
    ends = {token.end for token in tokens}
    for token in tokens:  # 절실하, 쓸데없이
        verb, adverb = token.tag[0] == "V" and token.form[-1] == "하", token.tag == "MAG" and token.form[-1] in "이히"
        if len(token.form) > 2 and (verb or adverb):
            ends.add(token.start + len(token.form) - 1)
    for match in _EOJEOL.finditer(text):
        starts.add(match.start())
        ends.add(match.end())
    return starts, ends


def _inside_nouns(tokens: Sequence[Token]) -> dict[int, Token]:
    """Return the offsets inside nouns that may be compounds, and the noun of each."""
    nouns = (token for token in tokens if token.tag[0] == "N" and token.end - token.start >= 3)
    return {offset: token for token in nouns for offset in range(token.start + 1, token.end)}


def _stands(match: Match, starts: Container[int], ends: Container[int], inside: Mapping[int, Token]) -> bool:
    """Return whether a word found may be meant where it stands.

    Inside a noun it must leave no single syllable over that may belong to it (무인기 holds no 인기), unless it is long,
    or Sino-Korean in ㄹ, which tenses wherever it is cut, or the syllable is known to be joined to such words (친권자,
    범함수). Loan words are never meant there (마다가스카르).
    """
    if match.standing or (match.start in starts and match.end in ends):
        return True
    noun = inside[match.end if match.start in starts else match.start]
    if match.start < noun.start or match.end > noun.end or match.entry.article == LOAN:
        return False
    if match.end - match.start > 2 or (
        match.entry.article == TENSE[TENSE_SINO] and match.entry.spoken != match.entry.word
    ):
        return True
    before, after = match.start - noun.start, noun.end - match.end
    if noun.end - noun.start == 3 and match.entry.article == TENSE[TENSE_LEXICAL]:
        tail = noun.form[-1] if after == 1 else ""
        return tail in words("tails") if tail else match.entry.word in words("heads")
    return noun.end - noun.start > 3 and 1 not in (before, after)


def _unanalyzed_offsets(text: str) -> tuple[set[int], set[int]]:
    """Return where words may begin and end without morphemes: at eojeols, and before what looks like a particle."""
    starts, ends = set(), set()
    for match in _EOJEOL.finditer(text):
        starts.add(match.start())
        ends.add(match.end())
        ends.update(offset for offset in range(match.start() + 1, match.end()) if _TAIL.match(text, offset))
    return starts, ends
