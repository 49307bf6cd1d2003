"""Digits that name something: telephone and registration numbers, addresses, plates, codes, versions."""

import re

from malsori.text.latin import LETTERS, read_latin
from malsori.text.numbers import cardinal, digit_by_digit, find_counter
from malsori.text.readers import after, before, gap, reads
from malsori.text.tables import choice

#: What may stand between the word that announces an identifier (번호, 코드) and its digits.
_ANNOUNCED = r"(?:[은는이가의]|로|로는|란|란은)?\s?[:：]?\s?"
_LENGTH = rf"(?:\(?(?:\d{{1,2}}|[한두세네일이삼사오육칠팔]|여섯)\s?(?:자리|글자|숫자)\)?(?:[을를]|{_ANNOUNCED}))?"
_PLATE = "가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주아바사자하허호배"


@reads(
    r"(?<![\d-])(?:\+82[- ]?\(?0?\)?\d{1,2}[- ]\d{3,4}[- ]\d{4}|\(?0\d{1,3}\)?[-. ]?\s?\d{3,4}[-. ]\d{4}"
    r"|1[3-9]\d\d-\d{4}|\d{6}-[1-8]\d{6}|\d{2,6}(?:-\d{2,6}){2,6}"
    r"|\+\d{1,3}(?:[-. ]?\(\d{1,4}\)\d{0,5})?(?:[-. ]\d{1,7}){1,5}|\(\d{3}\)\s?\d{3}[-. ]\d{4}|[01]-\d{3}-\d{3}-\d{4}"
    r"|00\d{1,4}(?:-\d{1,4}){2,5})"
    r"(?![\d-])"
)
def telephone(match: re.Match[str], text: str) -> str | None:
    """Return a telephone or registration number digit by digit; '+3.5' is none."""
    digits = re.sub(r"\D", "", match[0])
    if len(digits) < (8 if match[0][0] == "+" else 6):
        return None
    return ("플러스 " if match[0].startswith("+") else "") + digit_by_digit(digits)


@reads(r"(?<![A-Za-z])(?P<name>[A-Za-z]+)-?\d+(?:\.\d+)+(?!\d)|(?<![\d.])\d+(?:\.\d+){2,}(?!\d)")
def version(match: re.Match[str], text: str) -> str:
    """Return 'v1.2.3' as '브이 일 점 이 점 삼'."""
    name = match["name"] or ""
    numbers = match[0].removeprefix(name).removeprefix("-").split(".")
    return (f"{read_latin(name)} " if name else "") + " 점 ".join(cardinal(part) for part in numbers)


@reads(rf"(?<!\d)(?P<kind>\d{{2,3}})(?P<letter>[{_PLATE}])\s?(?P<number>\d{{4}})(?!\d|,\d|년|원|명|개)")
def plate(match: re.Match[str], text: str) -> str | None:
    """Return a number plate: '12가 3456' is '일이 가 삼사오육'."""
    if match["letter"] in "배호부도조수주자사오고구무소보하" and not re.search(
        r"차량|번호|차\s?$|번호판", before(match, text)
    ):
        return None
    return f"{digit_by_digit(match['kind'])} {match['letter']} {digit_by_digit(match['number'])}"


@reads(
    r"(?<![A-Za-z\d.,-])(?P<letters>[A-Z]{1,4}-?)?(?P<digits>(?:\d{3,}|\d\d(?=-\d{4}))(?:-\d{2,}|\s\d{3,4}(?![\d가-힣])){0,5})"
    r"(?:-?(?P<last>[A-Z]{1,3})(?![A-Za-z]))?(?![\d]|[.,]\d)"
)
def identifier(match: re.Match[str], text: str) -> str | None:
    """Return the digits after a word such as 번호, 코드, 끝자리 one by one, though other words stand between."""
    letters, digits = match["letters"] or "", match["digits"]
    following = after(match, text)
    counter = find_counter(following)
    if counter and counter.name == "번" and len(digits) > 3:  # 끝자리는 8842번
        counter = None
    preceding = before(match, text)
    long_code = len(letters) > 0 and len(re.sub(r"\D", "", digits)) > 4
    if not long_code and (counter or not _is_announced(preceding, len(digits) > 3 or bool(letters))):
        return None
    spoken = "".join(LETTERS[letter] for letter in letters if letter != "-") + digit_by_digit(re.sub(r"\D", "", digits))
    return spoken + "".join(LETTERS[letter] for letter in match["last"] or "") + gap(following)


def _is_announced(preceding: str, between: bool) -> bool:
    """Return whether a word announces an identifier: right before it, or with up to two words between."""
    words = r"(?:[가-힣]{1,5}\s){0,2}" if between else ""
    pattern = rf"{choice('identifiers')}{_ANNOUNCED}{words}{_LENGTH}{words}$"
    return re.search(pattern, preceding) is not None
