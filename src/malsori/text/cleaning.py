"""Signs that are another way to write a plain one: full width, conjoining jamo, accents, spaces, what is not seen."""

import re
import unicodedata

from malsori.text.hangul import CODAS, NUCLEI, ONSETS, to_nfc

_Map = dict[int, int | str | None]

_INVISIBLE = [0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF, 0x00AD, 0xFE0E, 0xFE0F, 0x20E3]
#: Skin tones, directions of writing, tags of flags, and accents that no letter composes with.
_INVISIBLE += [*range(0x1F3FB, 0x1F400), *range(0x202A, 0x202F), *range(0xE0020, 0xE0080), *range(0x300, 0x370)]
_CLEAN: _Map = dict.fromkeys(_INVISIBLE)
_CLEAN |= {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | dict.fromkeys(range(0x2000, 0x200B), 0x20)
_CLEAN |= {0x3000: 0x20, 0x00A0: 0x20, 0x202F: 0x20, 0x2028: 0x0A, 0x2029: 0x0A, 0x85: 0x0A, 0x3164: 0x20}
_CLEAN |= {0x1100 + index: ord(jamo) for index, jamo in enumerate(ONSETS)}
_CLEAN |= {0x1161 + index: ord(jamo) for index, jamo in enumerate(NUCLEI)}
_CLEAN |= {0x11A8 + index: ord(jamo) for index, jamo in enumerate(CODAS)}
#: Latin letters without their accents: é is e. Å stays, as it is a unit too.
_CLEAN |= {
    code: letter
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
    if (letter := unicodedata.normalize("NFD", chr(code))[0]).isascii() and code != 0xC5
}
_LATIN: dict[str, int | str | None] = {"ß": "ss", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "þ": "th", "Þ": "Th"}
_CLEAN |= str.maketrans("ØøĐđŁłıÐðĦħ", "OoDdLliDdHh") | str.maketrans(_LATIN)
#: Hanja that count after digits: 3月 5日, 10萬圓.
_COUNTERS = str.maketrans(
    "月日年時分秒名個回次號番階層坪萬億兆圓間代世紀度期級等位卷冊章節件歲人里",
    "월일년시분초명개회차호번계층평만억조원간대세기도기급등위권책장절건세인리",
)
_AFTER_DIGITS = re.compile(f"(?<=\\d)[{''.join(map(chr, _COUNTERS))}]+")


def clean(text: str) -> str:
    """Return a text in NFC with plain signs for those that are another way to write them.

    >>> clean("３개 café")
    '3개 cafe'
    """
    plain = to_nfc(to_nfc(text).translate(_CLEAN))
    return _AFTER_DIGITS.sub(lambda match: match[0].translate(_COUNTERS), plain)
