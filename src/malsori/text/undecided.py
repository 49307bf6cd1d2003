"""Where morphemes can change how a text is said: what asks for the analyzer, whose model takes seconds to load.

The patterns match decomposed Hangul (NFD), in which 'any coda' is one small class of characters: the same patterns over
precomposed syllables need classes of hundreds of ranges, and took longer to compile than a short text to read.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from malsori.text.elements import REQUESTS, elements
from malsori.text.hangul import CODAS, NUCLEI, ONSETS, decompose
from malsori.text.lexicon import Lexicon

#: The last syllables of all verb stems in ㄴ, ㄵ, ㅁ or ㄻ that the analyzer knows (kiwipiepy-model 0.24, dialects and
#: misspellings too). A lax onset after another such syllable begins no ending (감사, 한국, 은근): it stays lax.
STEMS = (
    "안앉얀얹엱난낝남넘논늠담닮덞돔둠듦듬뜀뜸갊감검곪굶굼금깜껌꿂꿈끔"
    "밞번븜뿜삶삼숨슴신심쌂암앎염옮욤잔잕잠젊찬참캄쿰텀품"
)
#: What follows 이 where it is the copula or a particle, and what begins endings and particles: no word begins there.
_AFTER_COPULA = "다며고나라니었에지란든야죠기자면는네군"
_ENDINGS = "아어았었으은을이에의였여있"
_ANY_ONSET, _ANY_NUCLEUS, _ANY_CODA = "[\u1100-\u1112]", "[\u1161-\u1175]", "[\u11a8-\u11c2]"
_OPEN = f"(?!{_ANY_CODA})"  # the syllable before it has no coda
_SYLLABLE = f"{_ANY_ONSET}{_ANY_NUCLEUS}{_ANY_CODA}?"


def needs_morphemes(text: str, lexicon: Lexicon) -> bool:
    """Return whether morphemes could change how a normalized text is said."""
    return _undecided().search(unicodedata.normalize("NFD", text)) is not None or lexicon.may_find(text)


@cache
def _undecided() -> re.Pattern[str]:
    """Return the pattern of what a mark that morphemes alone put could change, in a decomposed text."""
    kinds = (
        f"{_one_of(STEMS)}{_onsets('ㄱㄷㅅㅈ')}",
        f"{_codas('ㅁㄻ')}다",  # -ㅁ다
        f"{_codas('ㄹ')} ?{_onsets('ㄱㄷㅂㅅㅈ')}",
        # A coda before 야, 여, 요, 유, 일 or 임, or before the vowel of what may be a word of its own.
        f"{_ANY_CODA} ?{_onsets('ㅇ')}(?:{_nuclei('ㅑㅒㅕㅖㅛㅠ')}|{_nuclei('ㅣ')}{_codas('ㄹ' + CODAS[13:26])})",
        f"{_ANY_CODA}(?: {_onsets('ㅇ')}{_nuclei('ㅣ')}|이(?={_ANY_ONSET})(?!{_one_of(_AFTER_COPULA)}))",
        f"{_codas('ㄱㄲㄷㅂㅅㅈㅊㅋㅌㅍㅎㄳㄺㅄ')}(?!{_one_of(_ENDINGS)}){_onsets('ㅇ')}",
        f"(?<![\u1100-\u11c2]){_SYLLABLE}{_one_of('적')}",
        f"{_one_of('첫헛홑풋웃윗덧겉핫뭇맏숫옛')}{_onsets('ㅇ')}{_nuclei(NUCLEI[:17])}",
        *_elements(),
    )
    return re.compile(unicodedata.normalize("NFD", "|".join(kinds)))


def _elements() -> list[str]:
    """Return the patterns of the last elements of nouns, each after as much as it needs."""
    forms: dict[tuple[int, str], list[str]] = {}
    for form, rows in elements().items():
        for row in rows:
            forms.setdefault((row.before, row.codas), []).append(form)
    requests = "|".join(word[:-1] for word in REQUESTS)
    return [
        f"(?:{_SYLLABLE}){{{before - 1}}}{_ANY_ONSET}{_ANY_NUCLEUS}{_codas(codas) if codas else _ANY_CODA + '?'}"
        f"{_one_of(found)}(?!(?<={requests})요)"
        for (before, codas), found in forms.items()
    ]


def _one_of(words: Iterable[str]) -> str:
    """Return a pattern of whole syllables: 다 is not the beginning of 단."""
    return f"(?:{'|'.join(word if _is_closed(word) else word + _OPEN for word in sorted(words))})"


def _is_closed(word: str) -> bool:
    return bool(decompose(word[-1])[2])


def _onsets(jamo: str) -> str:
    return _class(0x1100, [ONSETS.index(one) for one in jamo])


def _nuclei(jamo: str) -> str:
    return _class(0x1161, [NUCLEI.index(one) for one in jamo])


def _codas(jamo: str) -> str:
    return _class(0x11A8, [CODAS.index(one) for one in jamo])


def _class(first: int, places: Iterable[int]) -> str:
    """Return the class of conjoining jamo at places of their block."""
    return f"[{''.join(chr(first + place) for place in places)}]"
