"""Latin letters: with digits (MP3, F-16, 1st), with dots (U.S.A., Vol.3, Dr.), and words."""

import re

from malsori.text.latin import LETTERS, read_code, read_latin
from malsori.text.numbers import cardinal, sino
from malsori.text.readers import after, gap, reads
from malsori.text.tables import mapping

_ORDINALS = ("", "퍼스트", "세컨드", "서드", "포스", "피프스", "식스스", "세븐스", "에잇스", "나인스", "텐스")
#: Abbreviations that are one only before a number: No.1, p.12.
_BEFORE_NUMBERS = frozenset(["no", "nos", "p", "pp", "fig", "ch", "ep", "vol", "ver", "lv", "sec", "op", "art"])


@reads(
    r"(?<![A-Za-z])(?:[A-Z]\d[A-Z]|\d[A-Z]{2}\d)(?![A-Za-z\d])|(?:[A-Z]{1,4}-(?=[A-Z]\d))?[A-Za-z]++-?\d+(?:[A-Z](?![A-Za-z]))?|(?<![\d.])\d[GDK](?![A-Za-z])"
    r"|(?<![A-Za-z])[A-Z]\.\d{2,4}(?![\d.])"
)
def code(match: re.Match[str], text: str) -> str:
    """Return letters and digits that belong together: 'F-16' is '에프십육', 'MP3' '엠피쓰리'."""
    known = read_code(match[0])
    if known:
        return known
    if re.fullmatch(r"D-\d{1,3}", match[0]):  # days to go
        return f"디 마이너스 {cardinal(match[0][2:])}{gap(after(match, text))}"
    parts = re.findall(r"[A-Za-z]+|\d+", match[0])
    spoken = "".join(read_latin(part) if part[0].isalpha() else cardinal(part).replace(" ", "") for part in parts)
    return spoken + gap(after(match, text))


@reads(r"(?<![\d.,])(?P<number>\d{1,3})(?:st|nd|rd|th)(?![A-Za-z0-9])")
def english_ordinal(match: re.Match[str], text: str) -> str:
    """Return '1st' as '퍼스트', '21st' as '이십일 번째'."""
    value = int(match["number"])
    return _ORDINALS[value] if 0 < value < len(_ORDINALS) else f"{sino(value)} 번째"


@reads(r"(?:['’](?P<short>[2-9]0)['’]?|(?P<tens>[2-9]0)['’]|(?<!\d)(?P<year>(?:19|20)\d0)['’]?)s(?![A-Za-z0-9])")
def english_decade(match: re.Match[str], text: str) -> str:
    """Return '80's' as '팔십 년대', '1990s' as '천구백구십 년대'."""
    return f"{sino(int(match['short'] or match['tens'] or match['year']))} 년대"


@reads(r"(?<![A-Za-z.])(?P<short>[A-Za-z]{1,6}|[a-z]\.[a-z])\.(?P<number>\s?(?=\d))?")
def abbreviation(match: re.Match[str], text: str) -> str | None:
    """Return a word cut short, with its dot: 'Vol.3' is '볼륨 삼', 'Dr.' '닥터'."""
    short = match["short"].lower()
    if short in _BEFORE_NUMBERS and match["number"] is None:
        return None
    known = mapping("latin.tsv").get(f"{short}.")
    return known and f"{known} "


@reads(r"(?<![A-Za-z])(?:I{2,3}|IV|VI{1,3}|IX|XI{1,3})(?![A-Za-z0-9])")
def roman_number(match: re.Match[str], text: str) -> str:
    """Return 'II' as '이'."""
    numbers = ("II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII")
    return sino(numbers.index(match[0]) + 2) + gap(after(match, text))


@reads(r"(?<![A-Za-z])[A-Z](?:\.[A-Z])+\.?(?![A-Za-z])")
def initials(match: re.Match[str], text: str) -> str:
    """Return 'U.S.A.' letter by letter."""
    return "".join(LETTERS[letter] for letter in match[0] if letter != ".")


@reads(r"[A-Za-z]++(?:[-'’&/][A-Za-z]++(?!\d))*")
def latin_words(match: re.Match[str], text: str) -> str:
    """Return Latin words; a joined word that the table knows (Wi-Fi, e-mail, A/S) is one."""
    whole = read_code(match[0].replace("’", "'"))
    if whole:
        return whole
    signs = {"&": "앤", "-": " ", "'": "", "’": "", "/": " "}
    return "".join(signs[part] if part in signs else read_latin(part) for part in re.split(r"([-'’&/])", match[0]))
