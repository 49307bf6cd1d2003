"""What a junction of syllables cannot know by itself: which morphemes it lies between.

Kiwi cuts the sentence into morphemes; each rule below looks at two neighbors and puts a mark on the junction between
them. Without Kiwi the same places stay unmarked, and only the words that need a mark change.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from malsori.text.hangul import SILENT, decompose, is_syllable
from malsori.text.pronounce import (
    CONTENT,
    FIXED,
    I_LIKE,
    INSERT,
    STEM,
    TENSE_ADNOMINAL,
    TENSE_COMPOUND,
    TENSE_LEXICAL,
    TENSE_SINO,
)
from malsori.text.tables import choice, table, words

log = logging.getLogger("malsori")

_ATTRIBUTIVE = frozenset(("NNG", "NNP", "NR", "SN", "XSN", "MM", "ETM", "NNB"))
_HEADS = frozenset(("NNG", "NNP", "NR", "VV", "VA", "VV-R", "VV-I", "VA-R", "VA-I"))
_ADVERBS = frozenset(("못", "잘"))
_MAX_PART = 1000  # characters that Kiwi is given at once: its time grows faster than a text without an end
#: They begin Sino-Korean nouns before which no ㄴ is inserted (등장인물), unless the word is native (물이끼).
_SINO_I = frozenset("이익인일임입잉")
_SINO_NUMERAL = re.compile(r"[영공일이삼사오육칠팔구십백천만억조]+$")
#: Stems in ㄴ and ㅁ, for a word cited alone, where nothing tells Kiwi that 감다 is not 가 + -ㅁ다.
_CITED = re.compile(
    r"(?<![가-힣])(?:껴안|끌어안|얼싸안|[가-힣]{0,3}넘|감|휘감|남|살아남|담|뿜|삼|숨|심|참|품|검|더듬|쓰다듬|가다듬|보듬|머금|굶|젊|닮"
    r"|곪|옮|짊|삶|신|뽐)(?=다(?![가-힣])|습니[다까]|도록|든지|더니|더라)"
)


#: 없 and 있 are words of their own after any noun (버릇없다 버르덥따), but for 맛있다 and 멋있다, said either way;
#: so are 원숭이 and kin in names of animals and plants (제15항).
_OWN_WORD = re.compile(
    "[가-힣](?=없)|(?![맛멋])[가-힣](?=있)"
    "|[가-힣](?=원숭이|원추리|올빼미|엉겅퀴|애벌레|앵무새|우렁이|오소리|알락|아재비)"
)
#: Prefixes in an obstruent: before a vowel they keep to themselves (첫인상, 헛웃음, 겉옷), not to be linked (제15항).
_PREFIXES = "첫헛홑풋웃윗덧겉핫뭇맏숫옛"
_PREFIXED = re.compile(f"[{_PREFIXES}](?=[아-앟애-앻어-엏에-엫오-옿와-왛외-욓우-웋워-웧위-윟]|인|임)")
#: A word said twice begins anew (얼핏얼핏 얼피덜핃), or brings a ㄴ along (야금야금 야금냐금).
_TWICE = re.compile("(?<![가-힣])(?P<word>[아-잏][가-힣]{1,2})(?=(?P=word))")
#: A leaf and a tale bring their ㄴ along (제29항 and 제30항), and so does work after 사이시옷.
_LEAF = re.compile("[가-힣](?=잎|윷|이야기)|[뱃훗뒷윗랫랏닷삿욋렛잿샛](?=일(?![가-힣]{2}))")


@dataclass(frozen=True)
class Token:
    """A morpheme: form, tag (Sejong tag set as Kiwi writes it) and the span of the text it stands in."""

    form: str
    tag: str
    start: int
    end: int


class MorphologicalAnalyzer:
    """Cuts text into morphemes with Kiwi, loaded on first use; without Kiwi every text has none."""

    @cached_property
    def _kiwi(self) -> Any:
        try:
            from kiwipiepy import Kiwi
        except ImportError as error:
            log.warning("kiwipiepy cannot be imported (%s): pronounced without morphemes, a few words otherwise", error)
            return None
        return Kiwi(num_workers=1, load_multi_dict=False)  # proper nouns of many words: half the loading time

    def tokens(self, text: str) -> list[Token]:
        """Return the morphemes of a normalized text."""
        if self._kiwi is None:
            return []
        return [
            Token(token.form, token.tag, offset + token.start, offset + token.end)
            for offset, part in _parts(text)
            for token in self._kiwi.tokenize(part)
        ]


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield a text in parts that Kiwi needs linear time for, with their offsets; cut after a sentence, or a word."""
    start = 0
    while len(text) - start > _MAX_PART:
        ends = [text.rfind(mark, start + _MAX_PART // 2, start + _MAX_PART) for mark in ".?!…"]
        end = max(ends) + 1 or text.rfind(" ", start + 1, start + _MAX_PART) + 1 or start + _MAX_PART
        yield start, text[start:end]
        start = end
    yield start, text[start:]


class Marks:
    """Marks on the junctions of a text, by the offset of the syllable before the junction."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at: dict[int, str] = {}

    def put(self, offset: int, mark: str) -> None:
        """Add a mark to the junction after the syllable at an offset."""
        self.at[offset] = self.at.get(offset, "") + mark

    def clear(self, start: int, end: int) -> None:
        """Take the marks inside a span away; the junctions at its ends keep theirs."""
        for offset in range(start, end - 1):
            self.at.pop(offset, None)

    def fix(self, start: int, end: int) -> None:
        """Mark the junctions inside a span as such that no rule works on."""
        for offset in range(start, end - 1):
            self.at[offset] = FIXED


def mark(text: str, tokens: Sequence[Token]) -> Marks:
    """Return the marks that numerals, cited stems and (where there are any) morphemes put on a text."""
    marks = Marks(text)
    for match in _numerals().finditer(text):
        sort = match.lastgroup
        marks.put(match.end() - 1, {"ten": TENSE_SINO, "count": TENSE_COMPOUND}.get(sort or "", INSERT))
    for match in _CITED.finditer(text):
        marks.put(match.end() - 1, STEM)
    for pattern, mark_ in ((_OWN_WORD, CONTENT), (_LEAF, INSERT), (_prices(), TENSE_LEXICAL)):
        for match in pattern.finditer(text):
            marks.put(match.end() - 1, mark_)
    for match in _TWICE.finditer(text):
        marks.put(match.end() - 1, INSERT if decompose(text[match.end()])[1] in I_LIKE else CONTENT)
    for index, token in enumerate(tokens):
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        sort = token.tag[0]
        if sort == "V" and following and following.tag[0] == "E":
            _stem(marks, token, following, tokens[index + 2] if index + 2 < len(tokens) else None)
        elif sort == "E":
            _adnominal(marks, token, following)
        if sort == "V" and len(token.form) > 2 and token.form[-1] == "하":
            _inside(marks, Token(token.form[:-1], "XR", token.start, token.start + len(token.form) - 1))
        if sort in "NX" or token.tag in ("MAG", "MM"):
            _inside(marks, token)
            _inserted(marks, token)
            _prefixed(marks, token)
        if following and following.start >= token.end:
            _between(marks, token, following)
    return marks


def _stem(marks: Marks, stem: Token, ending: Token, after: Token | None) -> None:
    """Mark a verb stem in ㄴ, ㄵ, ㅁ, ㄻ before its ending (제24항); -기- that makes a causative is no ending."""
    if ending.start < stem.end or marks.text[stem.end - 1] != stem.form[-1]:
        return
    if ending.form == "기" and after and after.start == ending.end and after.tag in ("VCP", "EP", "EC", "EF"):
        return
    if _coda(stem.form[-1]) in ("ㄴ", "ㄵ", "ㅁ", "ㄻ"):
        marks.put(stem.end - 1, STEM)


def _adnominal(marks: Marks, ending: Token, after: Token | None) -> None:
    """Mark -(으)ㄹ before what it modifies, and inside the endings that begin with it (제27항).

    A verb in ㄹ cited alone is cut before its -다 (되사 + ㄹ + 다) and stays lax.
    """
    if ending.form == "ᆷ다":
        marks.put(ending.start, STEM)
    if ending.form[0] not in "ᆯ을" or (after and after.form == "다" and after.start == ending.end):
        return
    if ending.tag == "ETM":
        marks.put(ending.end - 1, TENSE_ADNOMINAL)
    elif len(ending.form) > 1:
        marks.put(ending.start, TENSE_ADNOMINAL)


def _inside(marks: Marks, token: Token) -> None:
    """Mark Sino-Korean ㄹ + ㄷㅅㅈ inside one noun (제26항), but not where one word of two syllables meets another."""
    text = marks.text
    sino, initial = words("sino_l"), words("sino_l_initial")
    length = token.end - token.start
    for offset in range(token.start, token.end - 1):
        first, second = text[offset], text[offset + 1]
        last_of_many = offset + 2 == token.end and length > 2
        between_words = offset == token.start + 1 and length in (4, 5) and second != "지"  # 노발|대발
        if between_words or (last_of_many and second in words("lax_last")):
            continue
        alike = first == second or second == "다" or second not in _sino_lenis()  # 다: a verb cited alone
        initially = first in initial and offset == token.start and (length == 2 or second in "질증자절수동")
        if not alike and (first in sino or initially):
            marks.put(offset, TENSE_SINO)


def _inserted(marks: Marks, token: Token) -> None:
    """Mark where one noun holds two words, the second of which brings a ㄴ along (제29항).

    It is a native word in 이, or the second half of four syllables in 야, 여, 요, 유 (주경야독, 물심양면).
    """
    word = marks.text[token.start : token.end]
    if (
        len(word) == 4
        and token.tag[0] == "N"
        and _coda(word[1])
        and word[2] not in "용"
        and decompose(word[2])[1] in "ㅑㅕㅛㅠㅖ"
    ):
        marks.put(token.start + 1, INSERT)
    if word.endswith(_native_last()):
        native = next(native for native in _native_last() if word.endswith(native))
        if len(native) < len(word) and _coda(word[-len(native) - 1]):
            marks.put(token.end - len(native) - 1, INSERT)


@cache
def _native_last() -> tuple[str, ...]:
    return tuple(sorted(words("native_last"), key=len, reverse=True))


def _prefixed(marks: Marks, token: Token) -> None:
    """Mark a prefix in an obstruent before the vowel of its noun (제15항); a particle after it begins a morpheme."""
    match = _PREFIXED.match(marks.text, token.start, token.end + 1)
    if match and token.end - token.start > 1:
        marks.put(match.start(), CONTENT)


def _between(marks: Marks, token: Token, following: Token) -> None:
    """Mark the junction of two morphemes: ㄴ-insertion (제29항), a content word after a coda (제15항), suffixes."""
    text = marks.text
    offset = token.end - 1
    coda = _coda(text[offset])
    adjoining = following.start == token.end
    if not coda or not is_syllable(text[following.start]):
        return
    onset, nucleus, _ = decompose(text[following.start])
    if onset == SILENT:
        if nucleus in "ㅣㅑㅕㅛㅠㅒㅖ" and _inserts(token, following, adjoining, coda):
            marks.put(offset, INSERT)
        elif adjoining and coda not in "ㄴㄹㅁㅇ" and _is_content(token, following):
            marks.put(offset, CONTENT)
    elif adjoining and following.form == "적" and following.tag == "XSN" and _is_whole(text, token):
        marks.put(offset, TENSE_LEXICAL)


def _is_whole(text: str, token: Token) -> bool:
    """Return whether a morpheme is one syllable that begins its eojeol."""
    return len(token.form) == 1 and not is_syllable(text[max(0, token.start - 1)] if token.start else " ")


def _is_content(token: Token, following: Token) -> bool:
    """Return whether the second of two joined morphemes is a word of its own, not a particle, ending or suffix."""
    return token.tag[0] in "NXM" and following.tag in ("NNG", "NNP", "NR", "VV", "VA", "MAG")


def _inserts(token: Token, following: Token, adjoining: bool, coda: str) -> bool:
    """Return whether speech inserts ㄴ between two morphemes, the second in 이, 야, 여, 요, 유."""
    if following.form in words("never_insert"):
        return (token.tag == "MM" and following.form == "일") or (token.tag == "ETM" and following.form == "일")
    if adjoining:
        if following.tag == "XSN":
            return following.form == "용"
        if (following.form[0] in _SINO_I or len(token.form + following.form) == 2) and following.form not in words(
            "native_i"
        ):
            return False
        return token.tag in ("NNG", "NNP", "XPN", "MAG", "NR") and following.tag in ("NNG", "NR", "NNP")
    if token.tag == "NR" and _SINO_NUMERAL.match(token.form) and following.tag != "NNG":
        return False
    return (token.tag in _ATTRIBUTIVE or token.form in _ADVERBS) and following.tag in _HEADS


@cache
def _numerals() -> re.Pattern[str]:
    """Return the pattern of numerals that sound unlike other words: 십육 심뉵, 열여덟 열려덜, 칠십 칠씹, 열 개 열깨."""
    tensed = rf" ?(?:{choice('tensed_counters')}|시(?![가-힣]{{2}}))| {choice('tensed_spaced')}(?![가-힣]{{3}})"
    return re.compile(
        r"(?P<six>[십백천만](?=육))|(?P<native>(?:열|스물|서른|마흔|쉰|예순|일흔|여든|아흔)(?=여섯|여덟))"
        rf"|(?P<ten>[칠팔](?=십))|(?P<count>(?:(?<![가-힣])열|여덟)(?={tensed}))"
    )


@cache
def _prices() -> re.Pattern[str]:
    """Return the pattern of prices in -가 and departments in -과 before what shows that no particle is meant."""
    price = rf"{choice('priced')}(?=가(?:$|[,.!?]|{choice('after_price')}))"
    department = rf"(?<![가-힣])(?:부인|산)(?=과(?:$|[,.!?]| ?{choice('after_department')}))"
    return re.compile(f"{price}|{department}")


@cache
def _sino_lenis() -> frozenset[str]:
    """Return the Sino-Korean syllables that begin with ㄷ, ㅅ or ㅈ."""
    return frozenset(row[0] for row in table("hanja.tsv") if decompose(row[0])[0] in "ㄷㅅㅈ")


@lru_cache(maxsize=11172)
def _coda(character: str) -> str:
    """Return the coda of a character, '' if it is open or no syllable."""
    return decompose(character)[2] if is_syllable(character) else ""
