"""Numbers as Korean says them: Sino-Korean (일 이 삼), native (하나 둘 셋), digit by digit (공 일 이); with counters.

Which of them a counter takes is a table (counters.tsv); a few counters mean two things (3번: three times, number
three) and are told apart by the words around them.
"""

import re
from dataclasses import dataclass
from functools import cache

from malsori.text.tables import choice, table, words

DIGITS = "영일이삼사오육칠팔구"
SMALL_SCALES = ("", "십", "백", "천")
LARGE_SCALES = ("", "만", "억", "조", "경", "해", "자", "양", "구", "간", "정", "재", "극")
MAX_DIGITS = 4 * len(LARGE_SCALES)
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_NATIVE_ONES = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
#: Counters that count only certain things, and the list of these in patterns.tsv.
_THINGS = {
    "쪽": "cloves",
    "부": "copies",
    "단": "bundles",
    "주": "plants",
    "동": "buildings",
    "집": "houses",
    "되": "grains",
    "말": "grains",
    "편": "works",
}
_DETERMINERS = {"하나": "한", "둘": "두", "셋": "세", "넷": "네"}


def sino(number: int) -> str:
    """Return a whole number in Sino-Korean, with a space after each large scale.

    The digit one is silent before 십, 백, 천 and before a leading 만.

    >>> sino(12345)
    '만 이천삼백사십오'
    """
    if number == 0:
        return DIGITS[0]
    digits = str(number)
    groups = [digits[max(0, end - 4) : end] for end in range(len(digits), 0, -4)][::-1]
    spoken = []
    for index, group in enumerate(groups):
        scale = LARGE_SCALES[len(groups) - 1 - index]
        words = _group(group)
        if words:
            spoken.append(scale if words == "일" and scale == "만" and index == 0 else words + scale)
    return " ".join(spoken)


def _group(digits: str) -> str:
    """Return up to four digits in Sino-Korean, '' for zero."""
    spoken = []
    for digit, scale in zip(digits, SMALL_SCALES[: len(digits)][::-1], strict=True):
        if digit != "0":
            spoken.append(scale if digit == "1" and scale else DIGITS[int(digit)] + scale)
    return "".join(spoken)


def native(number: int, determiner: bool = True) -> str:
    """Return 1 to 99 in native Korean, as it stands before a counter (한, 스무) or alone (하나, 스물).

    From 100 on the hundreds are Sino-Korean, and so are tens from 20: 백한 (101), 백이십 (120).

    >>> native(21), native(20), native(3, determiner=False)
    ('스물한', '스무', '셋')
    """
    hundreds, rest = divmod(number, 100)
    if hundreds and (rest == 0 or rest > 19):
        return sino(number)
    tens, ones = divmod(rest, 10)
    one = _NATIVE_ONES[ones]
    if determiner and rest == 20:
        spoken = "스무"
    else:
        spoken = _NATIVE_TENS[tens] + (_DETERMINERS.get(one, one) if determiner else one)
    return (sino(hundreds * 100) if hundreds else "") + spoken if number else DIGITS[0]


def digit_by_digit(digits: str, zero: str = "공") -> str:
    """Return digits read one at a time, as in a telephone number: '02' is '공이'."""
    return "".join(zero if digit == "0" else DIGITS[int(digit)] for digit in digits)


def decimal(whole: str, fraction: str) -> str:
    """Return a decimal number: '3' and '14' are '삼 점 일사'."""
    return f"{sino(int(whole or '0'))} 점 {digit_by_digit(fraction, '영')}"


def cardinal(written: str) -> str:
    """Return a number written with digits, commas and a decimal point in Sino-Korean."""
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > MAX_DIGITS or (len(whole) > 1 and whole[0] == "0"):
        spoken = digit_by_digit(whole)
        return f"{spoken} 점 {digit_by_digit(fraction, '영')}" if fraction else spoken
    return decimal(whole, fraction) if fraction else sino(int(whole or "0"))


@dataclass(frozen=True)
class Counter:
    """A counter that follows a number: its name, the numbers it takes, and how many characters it is away."""

    name: str
    system: str
    gap: int


#: What numbers things: 제 as a word of its own (제 5장), a kind of school (중2병), a series (시즌3).
_NUMBERED = re.compile(r"(?:^|[^가-힣])(?:제\s|[초중고])$")
_SERIES = re.compile(r"(?:시즌|파트|버전|시리즈)\s?$")
_ENGLISH = ("제로", "원", "투", "쓰리", "포", "파이브")
#: What may not follow 월 after a number: 월드컵, 월요일.
_NOT_MONTH = re.compile("월(?:드|급|세|요|계|남)")


@cache
def _counters() -> tuple[dict[str, str], re.Pattern[str]]:
    """Return the system of each counter, and a pattern that finds the longest."""
    systems = {counter: row[0] for row in table("counters.tsv") for counter in row[1].split()}
    longest_first = "|".join(sorted(systems, key=len, reverse=True))
    return systems, re.compile(rf"\s?(장(?=조차)|(?!사이(?![가-힣]{{2}}))(?:{longest_first}))")


@cache
def _after_counter() -> re.Pattern[str]:
    """Return the pattern of what may follow a counter; anything else makes it part of a longer word (3개봉, 2장관)."""
    return re.compile(rf"{choice('after_counter')}|[^가-힣]|$")


def find_counter(after: str) -> Counter | None:
    """Return the counter that a text begins with, None if it begins with another word."""
    systems, pattern = _counters()
    match = pattern.match(after)
    while match:
        name = match[1]
        if _after_counter().match(after, match.end()) or _stands_alone(name, systems[name], after[match.start(1) :]):
            return Counter(name, systems[name], len(match[0]) - len(name))
        shorter = [name[:length] for length in range(len(name) - 1, 0, -1) if name[:length] in systems]
        match = re.compile(rf"\s?({shorter[0]})").match(after) if shorter else None
    return None


def _stands_alone(counter: str, system: str, after: str) -> bool:
    """Return whether a counter is one whatever follows it: a native one of two syllables or more, 월 but for 월드컵."""
    if counter == "월":
        return _NOT_MONTH.match(after) is None
    return system == "native" and len(counter) > 1 and counter not in ("부부", "모자", "모녀")


def count(value: int, counter: Counter | None, before: str, after: str) -> str:
    """Return a whole number as it is said before a counter (and after the words `before`).

    >>> count(3, find_counter("층에"), "", "층에"), count(3, find_counter("개"), "", "개")
    ('삼', '세')
    """
    if counter is None or value == 0 or before.endswith("제") or _NUMBERED.search(before):
        return sino(value)
    if _SERIES.search(before) and counter.name not in ("번째", "개", "가지", "명"):
        return sino(value)
    system = counter.system
    if re.match(r"\s?(?:판\s?\d\s?승|권\s?\d+\s?장|세트[를은는에서\s]*\d+\s?[-:])", after):  # 3판 2승제, 1세트 25-20
        return sino(value)
    if system == "context":
        system = "native" if _counts_things(value, counter.name, before, after.lstrip()) else "sino"
    if system == "english":
        return _ENGLISH[value] if value < len(_ENGLISH) else sino(value)
    limit = {"native": 10**6, "hours": 24, "small": 20}.get(system, 0)
    if value >= limit:
        return sino(value)
    if counter.name == "번째" and value == 1:
        return "첫"
    return native(value)


@cache
def _names(things: str) -> re.Pattern[str]:
    """Return the pattern of a text that ends in one of a list's words; a word of one syllable begins its eojeol."""
    short, long = ("|".join(word for word in words(things) if (len(word) == 1) is one) for one in (True, False))
    return re.compile(rf"(?:(?<![가-힣])(?:{short or long})|(?:{long or short}))[은는이가을를]?\s?$")


def _counts_things(value: int, counter: str, before: str, after: str) -> bool:
    """Return whether 번, 대, 분, 장, 점, 편, 권 or 건 counts things (native numbers) or numbers them (Sino-Korean)."""
    if counter == "번":
        times = re.match(rf"번\s?{choice('times')}", after)
        numbered = re.match(rf"번\s?(?:{choice('numbered')}|[가-힣]{{0,2}}{choice('numbered_heads')})", after)
        if times or not (numbered or re.search(rf"(?:{choice('numbered_before')}|\d[,·])\s?$", before)):
            return value < 20 or times is not None
        return False
    if counter == "대":
        if re.match(r"대(?:째|에 걸|\s?독자|손)", after):
            return False
        machine = re.search(rf"{choice('machines')}[가-힣]{{0,2}}\s?$", before)
        return machine is not None or (value % 10 != 0 and not re.match(r"대\s[가-힣]", after))
    if counter == "분":
        guests = re.match(r"분(?:이|께서|을|만)?\s?(?:오셨|오시|계|모시|께서|입장)", after)
        return guests is not None or re.search(rf"{choice('people')}\s?$", before) is not None
    if counter == "장":
        chapter = re.match(
            r"장(?:\s?\d+(?:절|쪽|항|조)|\s(?:[서본결]론|개[요관]|총칙|머리말|요약|배경|이론|해설)|에서는|에선|에\s?(?:나오|나온|따르|의하)|의\s?(?:제목|내용)|\s?(?:참조|참고))",
            after,
        )
        return chapter is None and re.search(r"(?:\d\s?(?:막|부|편|권)|교과서|성경|논문)\s?$", before) is None
    if counter in _THINGS and _names(_THINGS[counter]).search(before):
        return True
    if counter == "편":
        return re.match(r"편(?:씩|이나|째|의\s?(?:영화|시|소설|논문|글|드라마|작품))", after) is not None
    if counter in _THINGS:
        return False
    if counter == "점":
        return re.search(rf"{choice('pieces')}\s?$", before) is not None
    return value < 100
