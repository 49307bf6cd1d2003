"""Amounts: ranges, numbers with units, units whose amount is a word, and bare numbers by the counter after them."""

import re
from decimal import Decimal

from malsori.text.dates import month
from malsori.text.hangul import is_syllable
from malsori.text.numbers import MAX_DIGITS, Counter, cardinal, count, digit_by_digit, find_counter, sino
from malsori.text.readers import PARTICLE, after, before, gap, reads, scaled
from malsori.text.units import Unit, is_unmistakable, read_unit

_PAIRS = ("", "한두", "두세", "서너", "네다섯", "대여섯", "예닐곱", "일고여덟", "여덟아홉")
#: Digits that are read one by one as they are a name.
_NAMES = ("119", "112", "911", "114", "113", "1339", "1366", "365", "007", "747")
#: A number and what follows it that are a name together.
_NAMED_TOGETHER = re.compile(
    r"(?:63\s?빌딩|(?:44|55|66|77|88)\s?(?:반\s?)?사이즈|38선|88\s?(?:올림픽|서울|고속)|(?:[3-6]86|\d{4})\s?세대|[1-9]0[1-9]0\s?(?:여성|남성|청년|직장인|여심|남녀|세대|가요|음악|콘서트)|\d\d학번)"
)
#: A number that begins with a zero only to fill two places: 05월 03일.
_PADDED = re.compile(r"0\d\s?(?:[월일시분초주세살회강화과권장부편]|개월)")
#: Words after which a unit stands without digits: 몇 cm, 수십 km, 100여 m.
_AMOUNT_BEFORE = re.compile(r"(?:몇|수[십백천만억]+|[\d십백천만억]여|몇[십백천만]|[\d십백천만억]\s?몇)\s?$")


@reads(
    r"(?P<sign>(?<![\d가-힣A-Za-z)])[-−])?(?P<from>NUMBER)(?P<from_scale>SCALE)?(?P<from_unit>UNIT)?"
    r"(?:\s?[~∼〜～–—]\s?(?P<to>[-−+]?NUMBER)|-(?P<hyphen>\d{1,4})(?!-)"
    r"(?=\s?(?:[만억%℃명개일년월시분살세장권회번층차도점위대호쪽주원배]|페이지|인분|학년|cm|kg|km|m|g)))"
    r"(?P<to_scale>SCALE)?(?P<to_unit>UNIT)?"
)
def amount_range(match: re.Match[str], text: str) -> str | None:
    """Return a range: '1~2명' is '한두 명', '-4~2도' '마이너스 사 도에서 이 도'."""
    second = match["to"] or match["hyphen"]
    following, preceding = after(match, text), before(match, text)
    if match["hyphen"] and (
        Decimal(second) <= Decimal(match["from"].replace(",", "")) or re.match(r"번지|번길|호", following)
    ):
        return None
    counter = None if match["to_unit"] else find_counter(following)
    if counter and counter.name == "월" and second.isdigit() and match["from"].isdigit():
        return f"{month(int(match['from']))}월에서 {month(int(second))}"
    if not match["sign"] and _are_neighbors(match, second):
        return _pair(match, second, counter, preceding, following)
    to = _unit(match["to_unit"])
    unit = _unit(match["from_unit"] or match["to_unit"]).name
    if not unit and counter and "월" not in counter.name:
        unit = counter.name
    start = _amount(match["from"], match["from_scale"] or match["to_scale"], counter, preceding, following)
    end = _signed(second, match["to_scale"], counter, preceding, following)
    minus = "마이너스 " if match["sign"] else ""
    first, last = (f"{part} {name}".rstrip() for part, name in ((start, unit), (end, to.name)))
    return f"{to.lead} {minus}{first}에서 {last}{gap(following, counter)}".lstrip()


def _are_neighbors(match: re.Match[str], second: str) -> bool:
    """Return whether a range is of two numbers next to each other, under ten."""
    plain = len(second) == len(match["from"]) == 1 and not match["from_scale"] and not match["from_unit"]
    return plain and 0 < int(match["from"]) == int(second) - 1


def _pair(match: re.Match[str], second: str, counter: Counter | None, preceding: str, following: str) -> str:
    """Return two neighbors as speech joins them: 한두 명, 삼사 일."""
    first = int(match["from"])
    space = gap(following, counter)
    if counter and not match["to_scale"] and count(3, counter, preceding, following) == "세":
        return _PAIRS[first] + space
    unit = _unit(match["to_unit"]).name
    return f"{digit_by_digit(f'{first}{int(second)}')}{(match['to_scale'] or '').strip()} {unit}".rstrip() + space


def _unit(written: str | None) -> Unit:
    return read_unit(written) if written else Unit("")


def _signed(number: str, scale: str | None, counter: Counter | None, preceding: str, following: str) -> str:
    sign = {"-": "마이너스 ", "−": "마이너스 ", "+": "플러스 "}.get(number[0], "")
    return sign + _amount(number.lstrip("-−+"), scale, counter, preceding, following)


def _amount(number: str, scale: str | None, counter: Counter | None, preceding: str, following: str) -> str:
    if scale:
        return scaled(number, scale)
    padded_year = number[0] == "0" and counter is not None and counter.name.startswith("년")
    if "." in number or not counter or len(number) > MAX_DIGITS or padded_year:
        return cardinal(number)
    return count(int(number.replace(",", "")), counter, preceding, following)


@reads(r"(?<![\d.,])(?P<from>[1-8]),\s?(?P<to>[2-9])(?![\d.,])")
def listed_pair(match: re.Match[str], text: str) -> str | None:
    """Return two neighbors that a comma parts as speech joins them: '2,3명' is '두세 명', '1,2위' '일이 위'."""
    following, preceding = after(match, text), before(match, text)
    counter = find_counter(following)
    first, second = int(match["from"]), int(match["to"])
    if counter is None or second != first + 1:
        return None
    native = count(3, counter, preceding, following) == "세"
    return (_PAIRS[first] if native else digit_by_digit(f"{first}{second}")) + gap(following, counter)


@reads(r"(?P<degrees>NUMBER)[°º]\s?(?P<minutes>\d{1,2})[′'](?:\s?(?P<seconds>NUMBER)(?:[″\"]|''))?")
def angle(match: re.Match[str], text: str) -> str:
    """Return '35°30′' as '삼십오 도 삼십 분'."""
    seconds = f" {cardinal(match['seconds'])} 초" if match["seconds"] else ""
    return f"{cardinal(match['degrees'])} 도 {cardinal(match['minutes'])} 분{seconds}{gap(after(match, text))}"


@reads(r"(?<![\d가-힣A-Za-z)*])[-−+±](?=\d)")
def sign(match: re.Match[str], text: str) -> str:
    """Return the sign before a number."""
    return {"+": "플러스 ", "±": "플러스마이너스 "}.get(match[0], "마이너스 ")


@reads(r"(?P<amount>NUMBER)(?P<scale>SCALE)?(?P<unit>UNIT)")
def measure(match: re.Match[str], text: str) -> str | None:
    """Return a number with its unit: '60km/h' is '시속 육십 킬로미터'; the A of a seat 14A is none."""
    if match["unit"].isupper() and re.search(
        r"(?:좌석|자리|게이트|탑승구|출구|블록|타입|유형)\s?$", before(match, text)
    ):
        return None
    unit = read_unit(match["unit"])
    lead = "" if before(match, text).rstrip().endswith(unit.lead) else unit.lead
    following = after(match, text)
    space = " " if following and is_syllable(following[0]) and not PARTICLE.match(following) else ""
    return f"{lead} {scaled(match['amount'], match['scale'])} {unit.name}{space}".lstrip()


@reads(r"(?<![A-Za-z0-9])(?P<slash>/\s?)?(?P<unit>UNIT)")
def bare_unit(match: re.Match[str], text: str) -> str | None:
    """Return a unit whose amount is no digit: 'kg당' 킬로그램당, '몇 cm', '100여 m', '원/kg'."""
    written, following, preceding = match["unit"].strip(), after(match, text), before(match, text)
    per = match["slash"] is not None and is_syllable(preceding[-1:] or " ")
    told = re.match(
        r"당(?=[^가-힣]|[가-힣]?\s|$)|\s?단위|으?로\s?(?:환산|변환|바꾸|바꿔|표시|나타내|계산)", following
    ) and written not in (
        "A",
        "V",
        "W",
        "J",
        "N",
        "B",
        "a",
    )
    if match["slash"] and not per:
        return None
    amount = _AMOUNT_BEFORE.search(preceding)
    if not (per or told or amount or is_unmistakable(written)):
        return None
    unit = read_unit(written)
    lead = "" if amount else unit.lead  # 몇 km/h: 시속 would have to stand before 몇
    return f"{' 퍼' if per else ''} {lead} {unit.name}{gap(following)}"


@reads(r"(?P<digits>NUMBER)(?P<big>SCALE)?")
def number(match: re.Match[str], text: str) -> str:
    """Return a bare number, by the counter that follows it."""
    digits, scale = match["digits"], match["big"]
    following, preceding = after(match, text), before(match, text)
    counter = find_counter(following)
    space = gap(following, counter)
    if scale:
        return scaled(digits, scale) + (" " if following[:1].isdigit() else space)
    if _PADDED.match(f"{digits}{following}"):
        digits = digits[1]
    if "." in digits or (len(digits) > 1 and digits[0] == "0") or len(digits) > MAX_DIGITS:
        return cardinal(digits) + space
    if _is_name(digits, counter, preceding, following):
        return digit_by_digit(digits) + space
    value = int(digits.replace(",", ""))
    if counter and counter.name == "월" and value <= 12:
        return month(value)
    if following.startswith("여") and counter is None:
        return sino(value)
    return count(value, counter, preceding, following) + space


def _is_name(digits: str, counter: Counter | None, preceding: str, following: str) -> bool:
    """Return whether digits are a name to be read one by one: 119, 386세대, 63빌딩, 38선, clothing sizes."""
    if "," in digits:
        return False
    if len(digits) >= 12 and not digits.endswith("000"):
        return True
    if _NAMED_TOGETHER.match(digits + following):
        return True
    if digits in ("44", "55", "66", "77", "88") and (counter is None or counter.gap):
        return bool(re.search("사이즈|치수|입|맞|옷", preceding + following))
    return digits in _NAMES and counter is None and not preceding.endswith("제")
