"""Latin letters as Korean reads them: words by a table, acronyms by letters, the rest by the shape of the word."""

import re
from functools import lru_cache

from malsori.text.hangul import SILENT, compose
from malsori.text.tables import mapping

LETTERS = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [
            "에이",
            "비",
            "씨",
            "디",
            "이",
            "에프",
            "지",
            "에이치",
            "아이",
            "제이",
            "케이",
            "엘",
            "엠",
            "엔",
            "오",
            "피",
            "큐",
            "알",
            "에스",
            "티",
            "유",
            "브이",
            "더블유",
            "엑스",
            "와이",
            "제트",
        ],
        strict=True,
    )
)
#: Digits after a letter that are read in English: MP3, H2O, B2B.
_ENGLISH_DIGITS = {"1": "원", "2": "투", "3": "쓰리", "4": "포"}
#: What English words of up to four letters look like; others are read letter by letter (abc, dpi).
_SAYABLE = re.compile(
    r"(?:[bcdfghjklmnprstvwyz]|[bcfgkps]l|[bcdfgkpt]r|[cgpstw]h|s[ckmnptw]|[dtq]w|qu|kn|wr|gn|ps)?[aeiouy]+"
    r"(?:(?:[bcdfghjklmnprstvwxz]|[bcdfgklmnprst]{2}|ph|th|sh|ch|ck|ng|qu)[aeiouy]+)*"
    r"(?:[bcdfghklmnprstvwxz]|ck|ct|[cstg]h|f[ft]|l[bdfklmpstv]|m[bmps]|n[cdgknstx]|p[hpst]|r[bcdfgkmnpstv]|s[kmpst]|t[stz]|xt|zz|gg|gs|bs|ds|ws|dd|rl)?"
)
_MIXED = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+(?![a-z]))")
#: Graphemes of English with the sounds Korean gives them, longest first: consonants, then vowels.
_GRAPHEMES = re.compile(
    r"tion|sion|igh|eau|sch|tch|ck|ch|sh|ph|th|wh|qu|ng|gh|ll|ss|tt|pp|ff|mm|nn|dd|bb|gg|rr|zz|cc|kn|wr|oo|ee|ea|ai|ay|oa|ou|ow|oi|"
    r"oy|au|aw|ew|ie|ei|ey|(?:ar|er|ir|or|ur)(?![aeiouy])|[a-z]"
)
_LONG = {"a": "ㅔㅣ", "i": "ㅏㅣ", "o": "ㅗ", "u": "ㅠ", "e": "ㅣ", "y": "ㅏㅣ"}
_CODA_OF = {"ㅋ": "ㄱ", "ㄱ": "ㄱ", "ㅍ": "ㅂ", "ㅂ": "ㅂ", "ㅌ": "ㅅ", "ㄴ": "ㄴ", "ㅁ": "ㅁ", "ㄹ": "ㄹ", "-ㅇ": "ㅇ"}


def read_latin(word: str) -> str:
    """Return the reading of a run of Latin letters.

    A word of the table first; capitals are spelled; a camel-case word is read part by part; what is left is read by
    the shape of an English word.

    >>> read_latin("KBS"), read_latin("YouTube")
    ('케이비에스', '유튜브')
    """
    known = _known(word)
    if known:
        return known
    if word.isupper() and len(word) <= 5:
        return spell(word)
    parts = _MIXED.findall(word)
    if len(parts) > 1 and not word.isupper() and "".join(parts) == word:
        return "".join(read_latin(part) for part in parts)
    lower = word.lower()
    if lower.endswith("s") and len(lower) > 3 and _known(lower[:-1]):
        return f"{_known(lower[:-1])}스"
    if len(lower) <= 2 or not re.search("[aeiouy]", lower) or (len(lower) <= 4 and not _SAYABLE.fullmatch(lower)):
        return spell(word)
    return _by_shape(lower)


def spell(letters: str) -> str:
    """Return letters read one by one: 'LG' is '엘지'."""
    return "".join(LETTERS[letter] for letter in letters.upper())


def read_code(code: str) -> str | None:
    """Return the reading of letters mixed with digits that is a word of its own (5G, MP3, H2O), None if it is not.

    A lone digit between or after capitals is read in English where the table says so, else the caller's number rules.
    """
    known = _known(code)
    if known:
        return known
    match = re.fullmatch(r"([A-Z])([24])([A-Z])", code)
    return f"{LETTERS[match[1]]}{_ENGLISH_DIGITS[match[2]]}{LETTERS[match[3]]}" if match else None


def _known(word: str) -> str:
    """Return the reading a table gives, '' if none: capitals as they are, else without regard to case."""
    words = mapping("latin.tsv")
    if word in words:
        return words[word]
    return "" if word.isupper() and len(word) <= 4 else words.get(word.lower(), "")


@lru_cache(maxsize=4096)
def _by_shape(word: str) -> str:
    """Return a lower-case English word as its spelling suggests: 'brand' is '브랜드'."""
    sounds = _sounds(word)
    syllables: list[str] = []
    index = 0
    while index < len(sounds):
        onset = SILENT
        if sounds[index] not in _NUCLEI:
            onset = sounds[index]
            index += 1
            if onset != "ㄹ" and sounds[index : index + 1] == ["ㄹ"]:
                syllables.append(compose("ㄹ" if onset == "R" else onset.removeprefix("-"), "ㅡ", "ㄹ"))
                index += sounds[index + 1 : index + 2] == []
                continue
            if index == len(sounds) or sounds[index] not in _NUCLEI:
                syllables.append(_alone(onset))
                continue
        nucleus = sounds[index]
        index += 1
        coda, index = _closing(sounds, index)
        syllables.append(compose({"-ㅇ": SILENT, "R": "ㄹ"}.get(onset, onset), nucleus, coda))
    return "".join(syllables)


_NUCLEI = frozenset("ㅏㅐㅓㅔㅗㅜㅠㅡㅣㅑㅕㅛㅝ")


def _closing(sounds: list[str], index: int) -> tuple[str, int]:
    """Return the coda that the sound at an index makes, and the index after it."""
    if index >= len(sounds) or sounds[index] in _NUCLEI:
        return "", index
    sound, last = sounds[index], index + 1 == len(sounds)
    before_vowel = not last and sounds[index + 1] in _NUCLEI
    if sound == "ㄹ":
        return ("ㄹ", index) if before_vowel else ("ㄹ", index + 1)
    if before_vowel or sound not in _CODA_OF:
        return "", index
    if sound in ("ㄱ", "ㅂ") or (sound in ("ㅌ", "ㅋ", "ㅍ") and not last and sounds[index + 1] == "ㄹ"):
        return "", index
    return _CODA_OF[sound], index + 1


def _alone(consonant: str) -> str:
    """Return the syllable of a consonant that no vowel follows."""
    if consonant in ("-ㅇ", "R"):
        return "응" if consonant == "-ㅇ" else ""
    return compose(consonant, "ㅣ" if consonant in "ㅊㅈ" else "ㅡ", "")


def _sounds(word: str) -> list[str]:
    """Return the sounds of a word as jamo, vowels split into simple ones."""
    if re.search(r"[aiou][bcdfgklmnprstvz]e$", word):
        word = re.sub(r"([aiou])([bcdfgklmnprstvz])e$", lambda match: match[1].upper() + match[2], word)
    elif len(word) > 3 and word.endswith("e") and word[-2] not in "aeiouy":
        word = word[:-1]
    if len(word) > 2 and word.endswith("a"):
        word += "r"  # a last a is open, as in 'car': sofa 소파
    spellings = mapping("graphemes.tsv")
    sounds: list[str] = []
    for grapheme in re.findall(rf"[AIOU]|{_GRAPHEMES.pattern}", word):
        jamo = _LONG[grapheme.lower()] if grapheme.isupper() else spellings[grapheme]
        sounds += [jamo] if jamo.startswith("-") else jamo
    return sounds
