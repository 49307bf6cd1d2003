"""Sums of money, with the currency's sign or code before the amount or after it."""

import re
from decimal import Decimal

from malsori.text.numbers import cardinal
from malsori.text.readers import after, gap, reads, scaled
from malsori.text.tables import mapping

#: What multiplies an amount of money: $50M, €3bn, $20k.
_MULTIPLES = {
    "k": 3,
    "thousand": 3,
    "m": 6,
    "mn": 6,
    "million": 6,
    "b": 9,
    "bn": 9,
    "billion": 9,
    "t": 12,
    "tn": 12,
    "trillion": 12,
}
_SIGN = "[$€£¥￥₩￦₹₽₫฿₺₪₱₴₦₮₿₭]"
_MULTIPLE = r"(?:\s?(?:[KkMmBT]|[mbt]n|[Tt]housand|[MmBb]illion|[Tt]rillion)(?![A-Za-z]))"


@reads(
    rf"(?<![A-Za-z])(?P<currency>[A-Z]{{3}}|[A-Z]{{0,3}}{_SIGN})\s?(?P<sum>NUMBER)(?P<multiple>SCALE|{_MULTIPLE})?"
    r"(?:\s?(?:원|달러|유로|엔))?"
)
def before_amount(match: re.Match[str], text: str) -> str | None:
    """Return '$50M' as '오천만 달러', 'EUR 45' as '사십오 유로'."""
    name = _currency(match["currency"])
    if name is None or (match["currency"] == "PHP" and len(match["sum"]) < 3):  # the programming language
        return None
    return _sum(match["sum"], match["multiple"], name) + gap(after(match, text))


@reads(rf"(?P<sum>NUMBER)(?P<multiple>{_MULTIPLE})\s?(?P<currency>달러|유로|파운드|엔|위안|원)")
def multiplied(match: re.Match[str], text: str) -> str:
    """Return '3.5M 달러' as '삼백오십만 달러'."""
    return _sum(match["sum"], match["multiple"], match["currency"]) + gap(after(match, text))


@reads(rf"(?P<sum>NUMBER)(?P<multiple>SCALE|{_MULTIPLE})?\s?(?P<currency>[A-Z]{{3}}(?![A-Za-z])|{_SIGN}(?!\s?\d))")
def after_amount(match: re.Match[str], text: str) -> str | None:
    """Return '9,900 KRW' as '구천구백 원'."""
    name = _currency(match["currency"])
    return name and _sum(match["sum"], match["multiple"], name) + gap(after(match, text))


def _currency(written: str) -> str | None:
    """Return what a currency's sign or code is called; letters before a sign that are none of it are no currency."""
    return mapping("currencies.tsv").get(written)


def _sum(amount: str, multiple: str | None, name: str) -> str:
    """Return an amount, multiplied, and its currency."""
    power = _MULTIPLES.get((multiple or "").strip().lower())
    if power is None:
        return f"{scaled(amount, multiple)} {name}"
    product = Decimal(amount.replace(",", "")) * 10**power
    return f"{cardinal(f'{product:f}'.rstrip('0').rstrip('.') if product % 1 else str(int(product)))} {name}"
