"""Written Korean as it is read aloud: digits, Latin letters and symbols become Hangul words.

The text is cut from left to right into pieces; each piece keeps the span it was written in, so that the times of
speech map back to the page. What is already Hangul passes unchanged, which makes the whole idempotent.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass

from malsori.errors import TextError
from malsori.text.hangul import describe, to_nfc
from malsori.text.numbers import cardinal, decimal, digit_by_digit, native, sino

_NATIVE = (
    "개비|개피|가닥|가락|가지|갈래|갑|걸음|곳|과목|군데|그루|그릇|꼭지|꾸러미|끼|다발|단어|달|덩어리|돌|되|마디|마리|모금|모|"
    "명|묶음|바퀴|박스|발자국|발짝|방울|방|배|벌|병|봉지|분기점|사람|살|상자|세트|송이|시간|시|숟가락|쌍|알|자루|자리|잔|"
    "접시|조각|종류|줄기|줄|집|차례|채|척|칸|컵|켤레|큰술|토막|톨|통|팀|판|편|포기|포대|폭|건|곡|권|번째|번|장|대|개"
)
_NATIVE_RE = re.compile(rf"(?:{_NATIVE})(?!월|국|년|소|당|호|위)")
_ZERO_WIDTH = dict.fromkeys([0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD, 0xFE0E, 0xFE0F])
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0x00A0: 0x20}
_PUNCTUATION = {";": ",", ":": ",", "、": ",", "。": ".", "‥": "…", "·": " ", "/": " ", "-": " ", "~": " "}
_LETTERS = dict(
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
_JAMO_NAMES = dict(
    zip(
        "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎㄲㄸㅃㅆㅉ",
        [
            "기역",
            "니은",
            "디귿",
            "리을",
            "미음",
            "비읍",
            "시옷",
            "이응",
            "지읒",
            "치읓",
            "키읔",
            "티읕",
            "피읖",
            "히읗",
            "쌍기역",
            "쌍디귿",
            "쌍비읍",
            "쌍시옷",
            "쌍지읒",
        ],
        strict=True,
    )
)
_UNITS = {
    "km": "킬로미터", "m": "미터", "cm": "센티미터", "mm": "밀리미터", "kg": "킬로그램", "g": "그램", "mg": "밀리그램",
    "t": "톤", "l": "리터", "L": "리터", "ml": "밀리리터", "GB": "기가바이트", "MB": "메가바이트", "TB": "테라바이트",
    "%": "퍼센트", "%p": "퍼센트포인트", "℃": "도", "°C": "도", "㎡": "제곱미터", "m²": "제곱미터", "km/h": "킬로미터",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<phone>(?<!\d)(?:0\d{1,2}-\d{3,4}|1\d{3})-\d{4}(?!\d))"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?P<scale>\s?[십백천]?[만억조](?=[\s가-힣]|$)|[십백천](?=\s|만|원|에))?"
    r"(?:(?P<unit>km/h|%p|[kcm]?m²|[kcm]?[mgl]|GB|MB|TB|[tL%℃㎡]|°C)(?![A-Za-z]))?"
    r"|(?P<latin>[A-Za-z]+)"
    r"|(?P<jamo>[ㄱ-ㅎ]+)"
    r"|(?P<hangul>[가-힣\s]+)"
    r"|(?P<end>[.,?!…]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Piece:
    """A stretch of the normalised text and the span of the written text that it stands for."""

    spoken: str
    start: int
    end: int
    verbatim: bool


@dataclass(frozen=True)
class Normalized:
    """Spoken text and where each part of it was written."""

    written: str
    text: str
    pieces: tuple[Piece, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the offsets in `written` that the characters start..end of `text` stand for."""
        starts, position = [], 0
        for piece in self.pieces:
            starts.append(position)
            position += len(piece.spoken)
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
        head, tail = self.pieces[first], self.pieces[last]
        return (
            head.start + (start - starts[first] if head.verbatim else 0),
            tail.start + (end - starts[last]) if tail.verbatim else tail.end,
        )


def normalize(text: str) -> Normalized:
    """Return a text as it is read aloud: Hangul syllables, single spaces and the marks , . ? ! … only.

    Raises: TextError naming a character that has no reading, its code point and position.
    """
    written = to_nfc(text).translate(_ZERO_WIDTH).translate(_FULL_WIDTH)
    pieces = []
    for match in _TOKEN.finditer(written):
        if match["hangul"] or match["end"]:
            pieces.append(Piece(match[0], match.start(), match.end(), True))
        else:
            pieces.append(Piece(_read(match, written), match.start(), match.end(), False))
    return _tidy(written, pieces)


def _read(match: re.Match[str], written: str) -> str:
    """Return the reading of one piece that is not Hangul."""
    if match["phone"]:
        return digit_by_digit(match["phone"].replace("-", ""))
    if match["number"]:
        return _number(match, written)
    if match["latin"]:
        return "".join(_LETTERS[letter] for letter in match[0].upper())
    if match["jamo"]:
        return " ".join(_JAMO_NAMES.get(jamo, "") for jamo in match[0])
    if match[0] in _PUNCTUATION:
        return _PUNCTUATION[match[0]]
    if match[0].isalnum():
        raise TextError(f"{written!r}: {describe(match[0])} at position {match.start()} has no Korean reading.")
    return ""


def _number(match: re.Match[str], written: str) -> str:
    """Return the reading of a number with the scale or unit written to it."""
    number, scale, unit = match["number"], match["scale"], match["unit"]
    rest = written[match.end() :]
    if scale:
        return cardinal(number) + scale.strip()
    if unit:
        return f"{'시속 ' if unit == 'km/h' else ''}{cardinal(number)} {_UNITS.get(unit, unit)}"
    if "." in number:
        whole, _, fraction = number.replace(",", "").partition(".")
        return decimal(whole, fraction) + (" " if rest[:1].isalpha() else "")
    counter = rest.lstrip()
    value = int(number.replace(",", ""))
    gap = " " if rest[:1].isalpha() else ""
    if (len(number) > 1 and number[0] == "0") or len(number) > 12:
        return digit_by_digit(number) + gap
    if re.match(r"월(?!드)", rest) and value in (6, 10):
        return "유" if value == 6 else "시"
    if rest.startswith("월"):
        return sino(value)
    if _NATIVE_RE.match(counter) and 0 < value < 100:
        return ("첫" if value == 1 and counter.startswith("번째") else native(value)) + gap
    return sino(value) + gap


def _tidy(written: str, pieces: list[Piece]) -> Normalized:
    """Return the pieces joined, with single spaces and none at the ends."""
    kept: list[Piece] = []
    blank = True
    for piece in pieces:
        for spoken, start, end, verbatim in _lines(piece):
            if spoken.isspace():
                if blank:
                    continue
                spoken, blank = " ", True
            else:
                blank = False
            kept.append(Piece(spoken, start, end, verbatim))
    if kept and kept[-1].spoken == " ":
        kept.pop()
    return Normalized(written, "".join(piece.spoken for piece in kept), tuple(kept))


def _lines(piece: Piece) -> list[tuple[str, int, int, bool]]:
    """Return a piece cut into runs of space and runs of the rest."""
    runs = []
    for run in re.finditer(r"\s+|\S+", piece.spoken):
        if piece.verbatim:
            runs.append((run[0], piece.start + run.start(), piece.start + run.end(), True))
        else:
            runs.append((run[0], piece.start, piece.end, False))
    return runs
