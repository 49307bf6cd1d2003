"""Numbers that a sign relates: formulas, comparisons, ratios and scores, fractions, house numbers, blood pressure."""

import re
import unicodedata

from malsori.text.hangul import decompose, is_syllable
from malsori.text.latin import LETTERS
from malsori.text.numbers import cardinal, find_counter
from malsori.text.readers import NUMBER, after, before, gap, measured, reads
from malsori.text.tables import choice
from malsori.text.units import read_unit, unit_pattern

_OPERATORS = dict.fromkeys("×*xX", "곱하기") | {"+": "더하기", "-": "빼기", "−": "빼기", "÷": "나누기", "/": "나누기"}
#: Words that make two numbers a score: a victory after them, the word score before them.
_PLAYED_AFTER = re.compile(
    r"(?:(?:으?로)?\s?(?:승(?=리|을|했|한|$|[^가-힣])|[분석참완대]?패(?=배|를|했|한|$|[^가-힣])|무승부|동점|완승|완패|대승|대패|대파|우위|승부(?!차기)|셧아웃|[가-힣]{1,2}승(?=[을를으로,.!?\s]|했|$)|압승|참패|역전|신승|석패|리드|제압|격파"
    r"|영봉|콜드)|(?:인\s?|이던\s?|\s)상황"
    r"|\s(?:균형|팽팽|동률|접전|타이(?![가-힣]))|까지\s?(?:쫓|따라|추격|갔|간 |몰|끌)"
    r"|이\s?(?:됐|되|된)|의\s?(?:완|승|패|대승|역전|스코어|무승)"
    r"|,\s?\d{1,2}-\d{1,2}\s?(?:으?로|승|완승|패)|으?로\s?(?:이기|이겼|이긴|이길|지고|졌|진|질|지는|누르|눌|꺾|물리|비기|비겼|비긴|앞서|앞섰|앞선|뒤지|뒤졌|뒤진|끝|마치|마쳤|마친|마무리|내주|내줬|내준"
    r"|따내|따낸|가져|달아|쫓|따라|밀리|밀렸|이끌|균형|아쉽|크게|가볍|전반|후반))"
)
_PLAYED_BEFORE = re.compile(
    r"(?:스코어|점수|득점|(?:경기|최종)\s?결과|승부차기|타이브레이크|전반전?|후반전?|연장전?)(?:[은는이가]|에서)?\s?$"
)
_COMPARISONS = {"<": "작다", ">": "크다", "≤": "작거나 같다", "≥": "크거나 같다"}


@reads(
    r"(?<![\d.])NUMBER(?:\s?[-+−×*÷/]\s?NUMBER){1,40}\s?=(?:\s?[-−]?NUMBER)?|NUMBERUNIT?(?:\s?[+×÷*]\s?NUMBERUNIT?){1,40}"
    r"|(?<![A-Za-z\d])NUMBERUNIT?(?:\s?[xX]\s?NUMBERUNIT?){1,3}(?![A-Za-z])"
)
def formula(match: re.Match[str], text: str) -> str:
    """Return a formula: '3+4=7' is '삼 더하기 사는 칠', '4×50m' '사 곱하기 오십 미터'."""
    following = after(match, text)
    if re.fullmatch(r"[1-4]\+[1-4]", match[0]) and re.match(r"\s?(?:행사|이벤트|상품|증정|할인|로|으로)", following):
        english = ("", "원", "투", "쓰리", "포")
        return " 플러스 ".join(english[int(part)] for part in match[0].split("+"))
    spoken = ""
    for part in re.findall(rf"{NUMBER}(?:{unit_pattern()})?|[-+−×*÷/=xX]", match[0]):
        if part == "=":
            spoken += "은 " if decompose(spoken[-1])[2] else "는 "
        elif part in _OPERATORS:
            negative = part in "-−" and spoken.endswith(("은 ", "는 "))
            spoken += "마이너스 " if negative else f" {_OPERATORS[part]} "
        else:
            spoken += measured(part)
    return spoken + ("" if spoken[-1] == " " else gap(following, find_counter(following)))


@reads(r"(?<=[\dA-Za-z)])(?P<sign>[⁻⁺]?)(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9})(?![⁰¹²³⁴⁵⁶⁷⁸⁹])")
def power(match: re.Match[str], text: str) -> str:
    """Return the power of the number or letter before it: '10²³' is '십의 이십삼제곱'."""
    digits = unicodedata.normalize("NFKC", match["power"])
    called = f"{cardinal(digits)}제곱"
    if not match["sign"]:
        called = {"2": "제곱", "3": "세제곱"}.get(digits, called)
    sign = {"⁻": "마이너스 ", "⁺": ""}.get(match["sign"], "")
    return ("의 " if sign or before(match, text)[-1].isdigit() else " ") + sign + called


@reads(r"=(?!=)\s?")
def equals(match: re.Match[str], text: str) -> str:
    """Return '=' as the particle of what stands before it ('x=3' is '엑스는 삼'), between Korean words as a pause."""
    last = before(match, text).rstrip()[-1:]
    if is_syllable(last or " ") and is_syllable(after(match, text)[:1] or " "):
        return ", "
    read = {**LETTERS, **dict(zip("0123456789", "영일이삼사오육칠팔구", strict=True))}.get(last.upper(), last)
    closed = is_syllable(read[-1:] or " ") and decompose(read[-1])[2]
    return "은 " if closed else "는 "


@reads(r"(?P<left>NUMBER)\s?(?P<sign>[<>≤≥])\s?(?P<right>NUMBER)")
def comparison(match: re.Match[str], text: str) -> str:
    """Return '3<5' as '삼은 오보다 작다'."""
    left = cardinal(match["left"])
    topic = "은" if decompose(left[-1])[2] else "는"
    return f"{left}{topic} {cardinal(match['right'])}보다 {_COMPARISONS[match['sign']]}"


@reads(r"(?<![\d.:/,-])(?P<left>\d{1,3})\s?(?P<mark>[-:–])\s?(?P<right>\d{1,3})(?![\d:/-]|[.,]\d)")
def score(match: re.Match[str], text: str) -> str | None:
    """Return '4-1' as '사 대 일' among the words of a game: a score before it, a victory or a defeat after it."""
    following, preceding = after(match, text), before(match, text)
    played = bool(_PLAYED_AFTER.match(following) or _PLAYED_BEFORE.search(preceding))
    between_names = re.search(r"[가-힣A-Z]\s$", preceding) and re.fullmatch(r"\s[가-힣A-Z]{2,6}[.!?]?", following)
    if (
        not played
        and match["mark"] != ":"
        and (between_names or re.match(r"(?:으?로|이다)(?![가-힣])|입니다", following))
    ):
        played = not _is_numbered(preceding)
    if not played:
        return None
    return f"{cardinal(match['left'])} 대 {cardinal(match['right'])}{_word_gap(following)}"


def _is_numbered(preceding: str) -> bool:
    """Return whether the words before two numbers say that they are an address or the number of a figure or lesson."""
    street = r"(?:[가-힣]{2,}(?:로|길|동|리|가|읍|면)|번지|(?<![가-힣])산|지번)"
    return re.search(rf"(?:{street}|{choice('hyphenated')})\s?$", preceding) is not None


def _word_gap(following: str) -> str:
    """Return the space before a word that is no particle."""
    return "" if re.match(r"로|으로|의|이|가|은|는|을|를|에|까지|부터|인|였|이었|라|\s|$|[^가-힣]", following) else " "


@reads(
    r"NUMBER(?:\s?:\s?NUMBER){1,9}|(?<![A-Za-z\d:.])(?:\d{1,4}:[NnMm]|[NnMm]:(?:[NnMm]|\d{1,4}))(?![A-Za-z\d:])"
    r"|(?<![\d.])\d+대\d+(?![\d가-힣])|(?<![\d.])\d+\s?대\s?\d+(?!\d)(?!\.\d)(?=[^가-힣\s]|\s?$|로|의|으로|이|가|은|는|\s[가-힣A-Z])"
)
def ratio(match: re.Match[str], text: str) -> str:
    """Return '16:9' as '십육 대 구', '1:N' as '일 대 엔'."""
    space = " " if re.match(r"상담|맞춤|비율", after(match, text)) else ""
    parts = re.split(r"\s?[:대]\s?", match[0])
    return " 대 ".join(LETTERS.get(part.upper()) or cardinal(part) for part in parts) + space


@reads(r"(?<![\d.:])(?P<left>\d{1,3}):(?P<right>\d{2})(?![\d:]|,\d)")
def scale(match: re.Match[str], text: str) -> str | None:
    """Return two numbers with a colon as a ratio, not a time, where the word before them says so: '비율 1:10'."""
    told = re.match(
        r"\s?(?:모형|다이캐스트|프라모델|스케일|축척|비율|비로|희석|배합|축소|미니어처|피규어)", after(match, text)
    )
    if not told and not re.search(rf"{choice('ratio_before')}[은는이가을를]?\s?$", before(match, text)):
        return None
    return f"{cardinal(match['left'])} 대 {cardinal(match['right'])}"


@reads(
    r"(?:(?<![\d/.])(?:(?P<whole>\d+)\s)?(?P<top>\d+)/(?P<bottom>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?![\d/])|(?:(?<![\d/.])(?P<before>\d+)\s?)?(?P<sign>[½⅓⅔¼¾⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚]))"
    r"(?P<unit>UNIT)?"
)
def fraction(match: re.Match[str], text: str) -> str | None:
    """Return '3/4L' as '사 분의 삼 리터', '1 1/2' as '일과 이 분의 일', '110/70' of the blood as '백십에 칠십'."""
    sign = unicodedata.normalize("NFKC", match["sign"] or "")
    top, bottom = sign.split("⁄") if sign else (match["top"], match["bottom"])
    whole, unit = match["whole"] or match["before"], match["unit"]
    if re.fullmatch(r"(?:19|20)\d\d/\d\d", match[0]):  # a season, 2023/24
        return None
    if whole and (len(whole) > 2 or len(top) > len(bottom) or (len(top) == len(bottom) and top >= bottom)):
        return None
    preceding, following = before(match, text), after(match, text)
    if not sign and (
        (unit or "").strip() == "mmHg" or re.search(r"(?:혈압|[수이][축완]기|(?<![A-Za-z])BP)[^.?!]{0,12}$", preceding)
    ):
        name = f" {read_unit(unit).name}" if unit else ""
        return f"{cardinal(top)}에 {cardinal(bottom)}{name}{gap(following)}"
    spoken = f"{cardinal(bottom)} 분의 {cardinal(top)}"
    if whole:
        first = cardinal(whole)
        spoken = f"{first}{'과' if decompose(first[-1])[2] else '와'} {spoken}"
    if unit:
        return f"{read_unit(unit).lead} {spoken} {read_unit(unit).name}{gap(following)}".lstrip()
    return spoken + gap(following, find_counter(following))


@reads(r"(?<![\d.-])(?:\d{1,5}(?:-\d{1,5}){1,9}|(?:19|20)\d\d/\d\d)(?!\d|\.\d)")
def hyphenated(match: re.Match[str], text: str) -> str:
    """Return '12-9' as '십이 다시 구'; a season such as 2023-24 has no word between."""
    first, *rest = re.split("[-/]", match[0])
    following = after(match, text)
    school = re.search(r"(?:^|[^가-힣])[초중고]\s?$", before(match, text))
    between = " " if school or (len(first) == 4 and first[:2] in ("19", "20") and len(rest[0]) <= 2) else " 다시 "
    return between.join(map(cardinal, [first, *rest])) + gap(following, find_counter(following))
