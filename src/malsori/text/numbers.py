"""Numbers as Korean says them: Sino-Korean (일 이 삼), native (하나 둘 셋) and digit by digit (공 일 이)."""

DIGITS = "영일이삼사오육칠팔구"
TELEPHONE_DIGITS = "공일이삼사오육칠팔구"
SMALL_SCALES = ("", "십", "백", "천")
LARGE_SCALES = ("", "만", "억", "조", "경", "해", "자", "양", "구", "간", "정", "재", "극")
MAX_DIGITS = 4 * len(LARGE_SCALES)
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_NATIVE_ONES = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
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
