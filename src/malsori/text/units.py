"""Units of measurement: which there are (units.tsv, with the prefixes each takes), and what a written one is called."""

import re
from dataclasses import dataclass
from functools import cache

from malsori.text.tables import table

#: What is written before a unit and how it is said (The International System of Units, 9th edition, table 7).
_PREFIXES = {
    "T": "테라",
    "G": "기가",
    "M": "메가",
    "k": "킬로",
    "h": "헥토",
    "d": "데시",
    "c": "센티",
    "m": "밀리",
    "n": "나노",
    "p": "피코",
}
_PREFIXES |= dict.fromkeys("μµ", "마이크로") | {"K": "킬로", "P": "페타", "u": "마이크로"}
_POWERS = {"²": "제곱", "2": "제곱", "³": "세제곱", "3": "세제곱", "^2": "제곱", "^3": "세제곱"}
#: Units of time after a slash, and what is said before the amount: 10L/min is 분당 십 리터.
_PER_TIME = {
    "h": "시간당",
    "hr": "시간당",
    "min": "분당",
    "s": "초당",
    "sec": "초당",
    "day": "하루",
    "d": "하루",
    "yr": "연간",
}
#: Units that are too short to stand apart from their number.
_SHORT = ("in", "ms", "pt", "hr")
#: Units of one letter that may: 100 m.
_LOOSE = ("m", "g", "L")
#: Units that are read as units wherever they stand, as no other word is written so.
_UNMISTAKABLE = re.compile(
    r"[kcmd]m[²³23]?|m[²³]|[kmμ]g|m[Ll]|dL|[kMG]?Hz|k(?:W|Wh|cal|Pa|V|J|N|B|bps)|hPa|mmHg|pp[mb]|dB|m(?:A|Ah|V|W|Sv)|[MGT](?:Hz|Wh|bps)|[MG]Pa"
    r"|\w+/\w+[²³23]?"
)
_SQUARED = re.compile("[\u3371-\u337a\u3380-\u33df℃℉ℓ]")


@dataclass(frozen=True)
class Unit:
    """What a unit is called, and what is said before its amount (시속 육십 킬로미터)."""

    name: str
    lead: str = ""


@cache
def units() -> dict[str, Unit]:
    """Return the units that are written without a slash or a dot, by how they are written."""
    known: dict[str, Unit] = {}
    for written, name, lead, prefixes in table("units.tsv", 4):
        forms = {written: name} if "!" not in prefixes else {}
        forms |= {prefix + written: _PREFIXES[prefix] + name for prefix in prefixes if prefix in _PREFIXES}
        if "²" in prefixes:
            forms |= {form + power: said + name for form, name in forms.items() for power, said in _POWERS.items()}
        known |= {form: Unit(name, lead) for form, name in forms.items() if form not in known}
    return known


@cache
def unit_pattern() -> str:
    """Return the regular expression of a unit after a number: km, kg/m², a space before it where that is not rare."""
    names = [name for name in units() if "/" not in name]
    loose = _alternatives([name for name in names if (len(name) > 1 and name not in _SHORT) or name in _LOOSE])
    whole = _alternatives([name for name in units() if "/" in name])
    below = _alternatives([*names, *(time for time in _PER_TIME if time not in names)])
    tail = rf"(?:\s?/\s?{below}|[·⋅]{_alternatives(names)})?"
    return rf"(?:(?:{whole}|{_alternatives(names)}{tail}|\s(?:{whole}|{loose}{tail}))(?![A-Za-z0-9²³]))"


def _alternatives(names: list[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})"


def read_unit(written: str) -> Unit:
    """Return what a unit is called: 'kg' 킬로그램, 'mg/kg' 밀리그램 퍼 킬로그램, 'L/min' 리터 with 분당 before it."""
    written = "".join(written.split())
    known = units().get(written)
    if known:
        return known
    if "/" not in written:
        return Unit("".join(units()[part].name for part in re.split("[·⋅]", written)))
    above, below = written.split("/")
    if below in _PER_TIME:
        return Unit(units()[above].name, _PER_TIME[below])
    return Unit(f"{units()[above].name} 퍼 {units()[below].name}")


def is_unmistakable(written: str) -> bool:
    """Return whether a unit without an amount can be nothing else: kg and ㎡ can not, A and GB can."""
    return _SQUARED.match(written) is not None or _UNMISTAKABLE.fullmatch(written) is not None
