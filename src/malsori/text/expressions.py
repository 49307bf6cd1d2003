"""Written expressions that are read as one: dates, times, ranges, fractions, sums of money, measures, formulas.

Each is a pattern and a reader. A reader gets the match and the text around it and returns what is said; a space at
the end of it parts it from what follows.
"""

import re
from collections.abc import Callable
from functools import cache

from malsori.text.hangul import decompose, is_syllable
from malsori.text.latin import LETTERS, read_code, read_latin, spell
from malsori.text.numbers import Counter, cardinal, count, digit_by_digit, find_counter, native, sino
from malsori.text.tables import choice, table

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
_SCALE = (
    r"(?:\s?[십백천]?[만억조경](?![가-힣]{0,2}(?:족|남|점|이란))|[십백천](?=만|억|\s|원|명|개|여|에|년|리|톤|평|달러|보|배|분|권|대|석|\d|"
    r"[^가-힣]|$))"
)
_PAIRS = ("", "한두", "두세", "서너", "네다섯", "대여섯", "예닐곱", "일고여덟", "여덟아홉")
_CURRENCIES = {"$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "￥": "엔", "₩": "원", "￦": "원", "US$": "달러"}
_OPERATORS = {"+": "더하기", "-": "빼기", "−": "빼기", "×": "곱하기", "*": "곱하기", "÷": "나누기", "/": "나누기"}
_COMPARISONS = {"<": "작다", ">": "크다", "≤": "작거나 같다", "≥": "크거나 같다"}
_URL_SIGNS = {
    ".": "점",
    "@": "골뱅이",
    "/": "슬래시",
    "-": "하이픈",
    "_": "언더바",
    ":": "콜론",
    "?": "물음표",
    "=": "는",
    "&": "앤드",
}
_URL_SIGNS |= {"%": "퍼센트", "#": "샵", "~": "물결", "+": "플러스"}
_DIGIT_NAMES = ("119", "112", "911", "114", "113", "1339", "1366", "365", "007", "747")

#: Units that are too short to stand apart from their number.
_SHORT = ("in", "ms", "pt", "hr")
_PARTICLE = re.compile(
    r"(?:은|는|이|가|을|를|에|의|도|만|와|과|로|으로|랑|이랑|하고|부터|까지|보다|처럼|마다|라|입|인|일|였|예|여|나|이나|씩|쯤|째|짜리)"
    r"(?![가-힣]*(?:닝|상|하\b))"
)

Reader = Callable[[re.Match[str], str], str]
#: Readers and their patterns, in the order in which they are tried; NUMBER, SCALE, UNIT and EVENTS stand for patterns.
_READERS: list[tuple[str, Reader]] = []


@cache
def expressions() -> tuple[re.Pattern[str], dict[str, tuple[re.Pattern[str], Reader]]]:
    """Return one pattern that finds any expression, and by the name of its group each pattern and its reader."""
    names = [row[0] for row in table("units.tsv", 3)]
    tight, loose = _alternatives(names), _alternatives([name for name in names if len(name) > 1 and name not in _SHORT])
    parts = {"NUMBER": _NUMBER, "SCALE": _SCALE, "EVENTS": choice("events")}
    parts["UNIT"] = rf"(?:{tight}|\s{loose})(?![A-Za-z0-9²³])"
    readers, finders = {}, []
    for pattern, reader in _READERS:
        for name, part in parts.items():
            pattern = pattern.replace(name, part)
        readers[reader.__name__] = re.compile(pattern), reader
        unnamed = re.sub(r"\(\?P<\w+>", "(?:", pattern).replace("(?P=mark)", "[-./]")
        finders.append(f"(?P<{reader.__name__}>{unnamed})")
    return re.compile("|".join(finders)), readers


def _alternatives(names: list[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})"


def _reads(pattern: str) -> Callable[[Reader], Reader]:
    """Return a decorator that lists a reader under the pattern it reads."""

    def enlist(reader: Reader) -> Reader:
        _READERS.append((pattern, reader))
        return reader

    return enlist


@_reads(
    r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}|(?:https?://|www\.)[A-Za-z0-9./?=&_%#~:+-]*[A-Za-z0-9/]"
    r"|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:com|net|org|kr|io|ai|gov|edu|tv|jp|info)\b(?:/[A-Za-z0-9./?=&_%-]*)?"
)
def _read_url(match: re.Match[str], text: str) -> str:
    """Return an address part by part: 'naver.com' is '네이버 닷컴'."""
    spoken = []
    for part in re.findall(r"\.com\b|[A-Za-z]+|\d+|.", match[0].removeprefix("https://").removeprefix("http://")):
        if part.isdigit():
            spoken.append(digit_by_digit(part))
        elif part[0].isalpha():
            short = len(part) <= 4 and read_latin(part) != read_latin(part.capitalize())
            spoken.append(spell(part) if short else read_latin(part))
        else:
            spoken.append("닷컴" if part == ".com" else _URL_SIGNS[part])
    return " ".join(spoken)


@_reads(
    r"(?<!\d)(?P<year>\d{4})(?P<mark>[-./])\s?(?P<month>0?[1-9]|1[0-2])(?P=mark)\s?"
    r"(?P<day>0?[1-9]|[12]\d|3[01])(?!\d)\.?(?=[^\d]|$)"
)
def _read_date(match: re.Match[str], text: str) -> str:
    return f"{sino(int(match['year']))} 년 {_month(int(match['month']))}월 {sino(int(match['day']))} 일"


@_reads(
    r"(?<![\d-])(?:\+82[- ]?\d{1,2}[- ]\d{3,4}[- ]\d{4}|\(?0\d{1,2}\)?[-. ]?\d{3,4}[-. ]\d{4}|1[3-9]\d\d-\d{4}"
    r"|\d{6}-[1-8]\d{6}|\d{2,6}(?:-\d{2,6}){2,})(?![\d-])"
)
def _read_phone(match: re.Match[str], text: str) -> str:
    return ("플러스 " if match[0].startswith("+") else "") + digit_by_digit(re.sub(r"\D", "", match[0]))


@_reads(
    r"(?<![\d.])(?P<first>1[0-2]|[1-9])(?:\s?[·ㆍ‧・∙]\s?(?P<second>\d\d?)(?!\d)(?!\s?[·ㆍ‧・∙])"
    r"|\.\s?(?P<other>\d\d?)(?=\s?EVENTS))"
)
def _read_event(match: re.Match[str], text: str) -> str:
    """Return a day that has become a name, '6·25' is '육이오'; before a counter the two are numbers ('1·2차')."""
    first, second = int(match["first"]), match["second"] or match["other"]
    counter = find_counter(_after(match, text))
    if counter and not counter.gap and counter.name not in ("절", "사") and match["second"]:
        return (
            f"{count(first, counter, '', '')} {count(int(second), counter, '', '')}{_gap(_after(match, text), counter)}"
        )
    day = sino(int(second)) if second in ("10", "12") else digit_by_digit(second.lstrip("0") or "0")
    return sino(first) + day


@_reads(r"(?<![A-Za-z])(?P<name>[A-Za-z]+)-?\d+(?:\.\d+)+(?!\d)|(?<![\d.])\d+(?:\.\d+){2,}(?!\d)")
def _read_version(match: re.Match[str], text: str) -> str:
    name = match["name"] or ""
    numbers = match[0].removeprefix(name).removeprefix("-").split(".")
    return (f"{read_latin(name)} " if name else "") + " 점 ".join(sino(int(part)) for part in numbers)


@_reads(r"(?<![\d:])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])")
def _read_time(match: re.Match[str], text: str) -> str:
    hour = int(match["hour"])
    spoken = [f"{native(hour) if 0 < hour < 24 else sino(hour)} 시"]
    spoken += [
        f"{sino(int(part))} {name}"
        for part, name in ((match["minute"], "분"), (match["second"], "초"))
        if int(part or 0)
    ]
    return " ".join(spoken)


@_reads(r"(?<![\d.])NUMBER(?:\s?[-+−×*÷/]\s?NUMBER)+\s?=(?:\s?NUMBER)?|NUMBER(?:\s?[+×÷]\s?NUMBER)+")
def _read_equation(match: re.Match[str], text: str) -> str:
    """Return a formula: '3+4=7' is '삼 더하기 사는 칠'."""
    if re.fullmatch(r"[1-4]\+[1-4]", match[0]) and re.match(
        r"\s?(?:행사|이벤트|상품|증정|할인|로|으로)", _after(match, text)
    ):
        english = ("", "원", "투", "쓰리", "포")
        return " 플러스 ".join(english[int(part)] for part in match[0].split("+"))
    spoken = ""
    for part in re.findall(rf"{_NUMBER}|[-+−×*÷/=]", match[0]):
        if part == "=":
            spoken += "은 " if decompose(spoken[-1])[2] else "는 "
        else:
            spoken += f" {_OPERATORS[part]} " if part in _OPERATORS else cardinal(part)
    return spoken


@_reads(r"(?P<left>NUMBER)\s?(?P<sign>[<>≤≥])\s?(?P<right>NUMBER)")
def _read_comparison(match: re.Match[str], text: str) -> str:
    left = cardinal(match["left"])
    return (
        f"{left}{'은' if decompose(left[-1])[2] else '는'} {cardinal(match['right'])}보다 {_COMPARISONS[match['sign']]}"
    )


@_reads(
    r"NUMBER(?:\s?:\s?NUMBER)+"
    r"|(?<![\d.])\d+\s?대\s?\d+(?!\d)(?!\.\d)(?=[^가-힣\s]|\s?$|로|의|으로|이|가|은|는|\s[가-힣A-Z])"
)
def _read_ratio(match: re.Match[str], text: str) -> str:
    return " 대 ".join(cardinal(part) for part in re.split(r"\s?[:대]\s?", match[0])) + (
        " " if re.match(r"상담|맞춤|비율", _after(match, text)) else ""
    )


@_reads(r"(?<![\d/.])(?P<top>\d+)/(?P<bottom>\d+)(?![\d/])")
def _read_fraction(match: re.Match[str], text: str) -> str:
    return f"{sino(int(match['bottom']))} 분의 {sino(int(match['top']))}"


@_reads(
    r"(?P<from>NUMBER)(?P<from_scale>SCALE)?(?P<from_unit>UNIT)?(?:\s?[~∼〜～–—]\s?(?P<to>NUMBER)|-(?P<hyphen>\d{1,4})(?!-)"
    r"(?=\s?(?:[만억%℃명개일년월시분살세장권회번층차도점위대호쪽주원배]|페이지|인분|학년|cm|kg|km|m|g)))"
    r"(?P<to_scale>SCALE)?(?P<to_unit>UNIT)?"
)
def _read_range(match: re.Match[str], text: str) -> str:
    """Return a range: '1~2명' is '한두 명', '16~18세' '십육 세에서 십팔 세', '10~20%' '십 퍼센트에서 이십 퍼센트'."""
    second = match["to"] or match["hyphen"]
    after = _after(match, text)
    counter = None if match["to_unit"] else find_counter(after)
    before = _before(match, text)
    gap = _gap(after, counter)
    if counter and counter.name == "월" and second.isdigit():
        return f"{_month(int(match['from']))}월에서 {_month(int(second))}"
    neighbors = second.isdigit() and match["from"].isdigit() and int(second) == int(match["from"]) + 1 < 10
    if neighbors and not match["from_scale"] and not match["from_unit"] and int(match["from"]):
        first = int(match["from"])
        if counter and not match["to_scale"] and count(3, counter, before, after) == "세":
            return _PAIRS[first] + gap
        pair = digit_by_digit(f"{first}{second}")
        return pair + (match["to_scale"] or "").strip() + _unit_name(match["to_unit"]) + gap
    start = _amount(match["from"], match["from_scale"] or match["to_scale"], counter, before, after)
    end = _amount(second, match["to_scale"], counter, before, after)
    unit = _unit_name(match["from_unit"] or match["to_unit"])
    if not unit and counter and "월" not in counter.name:
        unit = f" {counter.name}"
    lead = _units()[match["to_unit"].strip()][1] + " " if match["to_unit"] else ""
    return f"{lead.lstrip()}{start}{unit}에서 {end}{_unit_name(match['to_unit'])}{gap}"


@_reads(r"(?P<currency>US\$|[$€£¥￥₩￦])\s?(?P<sum>NUMBER)(?P<scale>SCALE)?(?:\s?(?:원|달러|유로|엔))?")
def _read_money(match: re.Match[str], text: str) -> str:
    scale = match["scale"]
    spoken = _scaled(match["sum"], scale) if scale else cardinal(match["sum"])
    return f"{spoken} {_CURRENCIES[match['currency']]}"


@_reads(r"(?<![\d가-힣A-Za-z)])[-−+±](?=\d)")
def _read_sign(match: re.Match[str], text: str) -> str:
    return {"+": "플러스 ", "±": "플러스마이너스 "}.get(match[0], "마이너스 ")


@_reads(
    r"(?<![A-Za-z])(?:[A-Z]\d[A-Z]|\d[A-Z]{2}\d)(?![A-Za-z\d])|[A-Za-z]+-?\d+(?:[A-Z](?![A-Za-z]))?"
    r"|(?<![\d.])\d[GDK](?![A-Za-z])"
)
def _read_code(match: re.Match[str], text: str) -> str:
    """Return letters and digits that belong together: 'F-16' is '에프십육', 'MP3' '엠피쓰리'."""
    known = read_code(match[0])
    if known:
        return known
    parts = re.findall(r"[A-Za-z]+|\d+", match[0])
    return "".join(read_latin(part) if part[0].isalpha() else cardinal(part).replace(" ", "") for part in parts)


@_reads(r"(?P<amount>NUMBER)(?P<scale>SCALE)?(?P<unit>UNIT)")
def _read_measure(match: re.Match[str], text: str) -> str:
    """Return a number with its unit: '60km/h' is '시속 육십 킬로미터'."""
    name, lead = _units()[match["unit"].strip()]
    number = _scaled(match["amount"], match["scale"]) if match["scale"] else cardinal(match["amount"])
    if lead and _before(match, text).rstrip().endswith(lead):
        lead = ""
    following = _after(match, text)
    gap = " " if following and is_syllable(following[0]) and not _PARTICLE.match(following) else ""
    return f"{lead} {number} {name}{gap}".lstrip()


@_reads(r"(?P<digits>NUMBER)(?P<big>SCALE)?")
def _read_number(match: re.Match[str], text: str) -> str:
    """Return a bare number, by the counter that follows it."""
    number, scale = match["digits"], match["big"]
    after, before = _after(match, text), _before(match, text)
    counter = find_counter(after)
    gap = _gap(after, counter)
    if scale:
        return _scaled(number, scale) + (" " if after[:1].isdigit() else gap)
    if "." in number or (len(number) > 1 and number[0] == "0"):
        return cardinal(number) + gap
    if _is_name(number, counter, before, after, text):
        return digit_by_digit(number) + gap
    value = int(number.replace(",", ""))
    if counter and counter.name == "월" and value <= 12:
        return _month(value)
    if after.startswith("여") and counter is None:
        return sino(value)
    return count(value, counter, before, after) + gap


@_reads(r"(?<![A-Za-z])[Nn][Oo]\.\s?(?=\d)")
def _read_numbered(match: re.Match[str], text: str) -> str:
    return "넘버 "


@_reads(r"(?<![A-Za-z])[A-Z](?:\.[A-Z])+\.?(?![A-Za-z])")
def _read_initials(match: re.Match[str], text: str) -> str:
    return "".join(LETTERS[letter] for letter in match[0] if letter != ".")


@_reads(r"[A-Za-z]+(?:[-'’&][A-Za-z]+)*")
def _read_words(match: re.Match[str], text: str) -> str:
    """Return Latin words; a joined word that the table knows (Wi-Fi, e-mail) is one."""
    whole = read_code(match[0].replace("’", "'"))
    if whole:
        return whole
    signs = {"&": "앤", "-": " ", "'": "", "’": ""}
    return "".join(signs[part] if part in signs else read_latin(part) for part in re.split(r"([-'’&])", match[0]))


def _after(match: re.Match[str], text: str) -> str:
    return text[match.end() : match.end() + 24]


def _before(match: re.Match[str], text: str) -> str:
    return text[max(0, match.start() - 40) : match.start()]


def _gap(after: str, counter: Counter | None) -> str:
    """Return the space between a number and a counter written to it; a particle stays joined."""
    if not after or not is_syllable(after[0]) or (counter and counter.gap):
        return ""
    if counter and counter.name not in ("월",):
        return " "
    return "" if counter or _PARTICLE.match(after) else " "


def _is_name(number: str, counter: Counter | None, before: str, after: str, text: str) -> bool:
    """Return whether digits are a name to be read one by one: 119, 386세대, 63빌딩, a card number, clothing sizes."""
    if "," in number:
        return False
    if len(number) >= 12 and not number.endswith("000"):
        return True
    if re.match(r"[3-6]86$|\d{4}$", number) and after.lstrip().startswith("세대"):
        return True
    if len(number) > 2 and counter is None and re.search(r"(?:번호|코드|암호|계좌)[은는이가]?:?\s?$", before):
        return True
    if number == "63" and after.lstrip().startswith("빌딩"):
        return True
    if number in ("44", "55", "66", "77", "88") and (counter is None or counter.gap):
        return bool(re.search("사이즈|치수|입|맞|옷", text))
    return number in _DIGIT_NAMES and counter is None and not before.endswith("제")


def _scaled(number: str, scale: str) -> str:
    """Return a number before 만, 억 and the like: '2' and '천만' are '이천만', '1' and '만' is '만'."""
    scale = scale.strip()
    if number == "1" and scale[0] in "십백천만":
        return scale
    return cardinal(number) + (" " if "." in number else "") + scale


@cache
def _units() -> dict[str, tuple[str, str]]:
    return {row[0]: (row[1], row[2]) for row in table("units.tsv", 3)}


def _amount(number: str, scale: str | None, counter: Counter | None, before: str, after: str) -> str:
    if scale:
        return _scaled(number, scale)
    if "." in number or not counter:
        return cardinal(number)
    return count(int(number.replace(",", "")), counter, before, after)


def _unit_name(unit: str | None) -> str:
    return f" {_units()[unit.strip()][0]}" if unit else ""


def _month(month: int) -> str:
    """Return the number before 월: 유월 and 시월 lose their last sound."""
    return {6: "유", 10: "시"}.get(month, sino(month))
