"""Days and times: dates, days of the week in brackets, clock times, days that have become names."""

import re

from malsori.text.numbers import count, digit_by_digit, find_counter, native, sino
from malsori.text.readers import after, before, gap, reads
from malsori.text.tables import choice

_WEEKDAY = r"\s?\((?P<weekday>[월화수목금토일]|[月火水木金土日])(?:요일|曜日)?\)"
_HANJA_WEEKDAYS = dict(zip("月火水木金土日", "월화수목금토일", strict=True))
_MONTH, _DAY = r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
#: Words that tell a day written 3/15 from a fraction: those after it, and those before it.
_HOLIDAY = r"\(?[가-힣]{0,4}(?:의 날|절(?![가-힣])|데이|[념충]일|[글설이]날|새해|성탄|크리스마스|추석)"
_DAY_AFTER = re.compile(
    rf"(?:\s?(?:{_HOLIDAY}|{choice('day_after')}|자\b|\d{{1,2}}:\d\d|\d{{1,2}}시)"
    r"|\s?[~∼〜～–-]\s?\d{1,2}/\d{1,2}(?![\d/]))"
)
_DAY_BEFORE = re.compile(
    r"(?:일시|일자|날짜|기간|기한|마감|마감일|시험일|생일|지난|오는|[~∼〜～]|\d/\d{1,2}\s?[-–~]|일까지)[은는이:：]?\s?$"
)
#: What makes 9/1 a day, as no fraction is so: a word that it is not a part of, or the last day of a span.
_WORD_AFTER = re.compile(
    r"\s(?!박자|만점|점|개|명|통과|성공|정도|수준|배|컵|크기|지점)[가-힣]{2}|[~∼〜～]\d{1,2}(?![\d/.])"
)
_FRACTIONS_AFTER = re.compile(r"\s?[~∼〜～–-]\s?\d{1,2}/\d{1,2}\s?(?:컵|정도|수준|가량|큰술|스푼|개|배|[A-Za-z㎖㎏])")
_HALVES = {"a": "오전", "p": "오후"}


def month(number: int) -> str:
    """Return the number before 월: 유월 and 시월 lose their last sound."""
    return {6: "유", 10: "시"}.get(number, sino(number))


def _month_and_day(first: str, second: str) -> str:
    return f"{month(int(first))}월 {sino(int(second))} 일"


def _on(weekday: str | None) -> str:
    """Return the day of the week that stands in brackets after a date."""
    return f" {_HANJA_WEEKDAYS.get(weekday, weekday)}요일" if weekday else ""


@reads(
    rf"(?<![\d.])(?P<year>\d{{4}}|['’]?\d\d(?=[-./](?:0[1-9]|1[0-2])[-./](?:0[1-9]|[12]\d|3[01])))(?P<mark>[-./])\s?(?P<month>{_MONTH})"
    rf"(?:(?P=mark)\s?(?P<day>{_DAY})(?!\d)\.?(?!-\d)(?:{_WEEKDAY})?|(?:(?<=[-./]0[1-9])|(?<=-1[0-2]))(?![-./\d]|\s?(?:시즌|학년|학기|호|번)))(?=[^\d]|$)"
)
def full_date(match: re.Match[str], text: str) -> str:
    """Return '2024-06-10' as '이천이십사 년 유월 십 일', '2024.03' as '이천이십사 년 삼월'."""
    year = f"{sino(int(match['year'].lstrip(chr(39) + '’')))} 년"
    if not match["day"]:
        return f"{year} {month(int(match['month']))}월"
    return f"{year} {_month_and_day(match['month'], match['day'])}{_on(match['weekday'])}"


@reads(rf"(?<![\d/.])(?P<month>{_MONTH})/(?P<day>{_DAY})/(?P<year>(?:19|20)\d\d)(?![\d/])")
def american_date(match: re.Match[str], text: str) -> str:
    """Return '10/05/2024' as '이천이십사 년 시월 오 일'."""
    return f"{sino(int(match['year']))} 년 {_month_and_day(match['month'], match['day'])}"


@reads(
    rf"(?<![\d/.])(?P<month>{_MONTH})(?:/(?P<day>{_DAY})(?![\d/]|\.\d|\s?분기|\s?사분기)(?:{_WEEKDAY})?"
    rf"|\.\s?(?P<dotted>{_DAY})\.?{_WEEKDAY.replace('weekday', 'named')})"
)
def slash_date(match: re.Match[str], text: str) -> str | None:
    """Return '3/1(금)' as '삼월 일 일 금요일'; a fraction without a word that tells a day is none."""
    following, preceding = after(match, text), before(match, text)
    day, named = match["day"] or match["dotted"], match["weekday"] or match["named"]
    certain = named or match["month"][0] == "0" or day[0] == "0"
    small = match["dotted"] is None and int(match["month"]) < int(day) < 6 and re.match("부터|까지", following)
    fraction = small or preceding.rstrip().endswith("의") or _FRACTIONS_AFTER.match(following)
    improper = int(match["month"]) >= int(day) and _WORD_AFTER.match(following) is not None
    if (
        not certain
        and not (improper and not fraction)
        and (fraction or not (_DAY_AFTER.match(following) or _DAY_BEFORE.search(preceding)))
    ):
        return None
    joined = re.match(r"[^가-힣]|$|부터|까지|에|은|는|이|의|로|자", following)
    return _month_and_day(match["month"], day) + _on(named) + ("" if joined else " ")


@reads(rf"(?:(?<=일)|(?<=[~∼〜～–-])(?P<day>{_DAY})){_WEEKDAY}")
def weekday(match: re.Match[str], text: str) -> str:
    """Return the bracket in '3월 1일(금)' as ' 금요일', and '5(금)' at the end of a span as '오 일 금요일'."""
    return (f"{sino(int(match['day']))} 일" if match["day"] else "") + _on(match["weekday"])


@reads(
    r"(?<![\d.])(?P<first>1[0-2]|[1-9])(?:\s?[·ㆍ‧・∙]\s?(?P<second>\d\d?)(?!\d)(?!\s?[·ㆍ‧・∙])"
    r"|\.\s?(?P<other>\d\d?)(?=\s?EVENTS))"
)
def event(match: re.Match[str], text: str) -> str:
    """Return a day that has become a name, '6·25' is '육이오'; before a counter the two are numbers ('1·2차')."""
    first, second = int(match["first"]), match["second"] or match["other"]
    counter = find_counter(after(match, text))
    if counter and not counter.gap and counter.name not in ("절", "사") and match["second"]:
        numbers = (count(value, counter, "1, ", "") for value in (first, int(second)))
        return " ".join(numbers) + gap(after(match, text), counter)
    day = sino(int(second)) if second in ("10", "12") else digit_by_digit(second.lstrip("0") or "0")
    return sino(first) + day


@reads(
    r"(?<![\d:A-Za-z])(?P<before>[AaPp])(?:\.[Mm]\.|[Mm])\s?(?P<hour>0?\d|1[0-2])(?::(?P<minute>[0-5]\d))?(?![\d:.]|,\d{3})"
    r"(?P<word>\s?시(?=[^가-힣]|에|부터|까지|쯤|경|이|정각|$))?"
)
def half_day_before(match: re.Match[str], text: str) -> str | None:
    """Return 'AM 9:30' as '오전 아홉 시 삼십 분'."""
    if not match["minute"] and not match["word"]:
        return None
    return _half_day(match["before"], match["hour"], match["minute"])


@reads(
    r"(?<![\d:.])(?P<hour>0?\d|1[0-2])(?::(?P<minute>[0-5]\d))?(?P<space>\s?)(?P<half>[AaPp])(?:\.[Mm]\.|[Mm](?![A-Za-z0-9]))"
)
def half_day_after(match: re.Match[str], text: str) -> str | None:
    """Return '3:15 PM' as '오후 세 시 십오 분'; '2PM' and '2AM' are names."""
    if match[0].upper() in ("2PM", "2AM"):
        return None
    said = re.search("오[전후]\\s?$", before(match, text)) is not None
    return _half_day(match["half"], match["hour"], match["minute"]).removeprefix(
        f"{_HALVES[match['half'].lower()]} " * said
    )


def _half_day(half: str, hour: str, minute: str | None) -> str:
    minutes = f" {sino(int(minute))} 분" if minute and int(minute) else ""
    return f"{_HALVES[half.lower()]} {_hour(int(hour))} 시{minutes}"


def _hour(hour: int) -> str:
    return native(hour) if 0 < hour < 24 else sino(hour)


@reads(
    r"(?<![\d:])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:]|,\d{3}|\.\d)(?:시(?=[^가-힣]|에|부터|까지|$))?(?P<to>\s?[-–]\s?(?=\d?\d:\d\d))?"
)
def clock_time(match: re.Match[str], text: str) -> str:
    """Return '14:30' as '열네 시 삼십 분'."""
    spoken = [f"{_hour(int(match['hour']))} 시"]
    parts = ((match["minute"], "분"), (match["second"], "초"))
    spoken += [f"{sino(int(part))} {name}" for part, name in parts if int(part or 0)]
    return " ".join(spoken) + ("에서 " if match["to"] else "")
