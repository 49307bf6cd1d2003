"""What every reader of written expressions has: a pattern, the text around its match, the gap to the word after it.

A reader gets a match and the text around it and returns what is said, with a space at its end where that parts it from
what follows; or None, when the words around it say that the match is something else.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from malsori.text.hangul import is_syllable
from malsori.text.numbers import Counter, cardinal
from malsori.text.tables import choice
from malsori.text.units import read_unit, unit_pattern

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d++(?:\.\d++)?+)"
SCALE = (
    r"(?:\s?[십백천]?[만억조경](?![가-힣]{0,2}(?:족|남|점|이란))|[십백천](?=만|억|\s|원|명|개|여|에|년|리|톤|평|달러|보|배|분|권|대|석|\d|"
    r"[^가-힣]|$))"
)
PARTICLE = re.compile(
    r"(?:은|는|이|가|을|를|에|의|도|만|와|과|로|으로|랑|이랑|하고|부터|까지|보다|처럼|마다|라|입|인|일|였|예|여|나|이나|씩|쯤|째|짜리)"
    r"(?![가-힣]*(?:닝|상|하\b))"
)
Reader = Callable[[re.Match[str], str], str | None]


@dataclass(frozen=True)
class Expression:
    """A written expression: how it looks (NUMBER, SCALE, UNIT and EVENTS stand for patterns) and how it is read."""

    pattern: str
    read: Reader

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The pattern with its parts in place."""
        pattern = self.pattern
        parts = {"NUMBER": NUMBER, "SCALE": SCALE, "EVENTS": choice("events"), "UNIT": unit_pattern()}
        for name, part in parts.items():
            pattern = pattern.replace(name, part)
        return re.compile(pattern)


def reads(pattern: str) -> Callable[[Reader], Expression]:
    """Return a decorator that makes a reader the expression of a pattern."""
    return lambda reader: Expression(pattern, reader)


def after(match: re.Match[str], text: str) -> str:
    """Return what stands after a match."""
    return text[match.end() : match.end() + 24]


def before(match: re.Match[str], text: str) -> str:
    """Return what stands before a match."""
    return text[max(0, match.start() - 40) : match.start()]


def gap(following: str, counter: Counter | None = None) -> str:
    """Return the space between a number and a counter written to it; a particle stays joined."""
    if not following or not is_syllable(following[0]) or (counter and counter.gap):
        return ""
    if counter and counter.name != "월":
        return " "
    return "" if counter or PARTICLE.match(following) else " "


def scaled(number: str, scale: str | None) -> str:
    """Return a number before 만, 억 and the like: '2' and '천만' are '이천만', '1' and '만' is '만'."""
    if not scale:
        return cardinal(number)
    scale = scale.strip()
    if number == "1" and scale[0] in "십백천만":
        return scale
    return cardinal(number) + (" " if "." in number else "") + scale


def measured(written: str) -> str:
    """Return a number as it is said, with its unit if it has one: '50m' is '오십 미터'."""
    number = re.match(NUMBER, written)
    unit = written[number.end() :] if number else written
    if not number or not unit:
        return cardinal(written)
    called = read_unit(unit)
    return f"{called.lead} {cardinal(number[0])} {called.name}".lstrip()
