"""The written expressions that are read as one, in the order in which they are tried."""

from malsori.text import codes, dates, electronic, formulas, identifiers, money, quantities
from malsori.text.readers import Expression

_ORDER: tuple[Expression, ...] = (
    electronic.address,
    electronic.file_name,
    dates.full_date,
    dates.american_date,
    dates.slash_date,
    dates.weekday,
    identifiers.telephone,
    identifiers.plate,
    identifiers.identifier,
    dates.event,
    identifiers.version,
    formulas.scale,
    formulas.score,
    dates.half_day_before,
    dates.half_day_after,
    dates.clock_time,
    money.before_amount,
    money.after_amount,
    money.multiplied,
    formulas.power,
    formulas.formula,
    formulas.equals,
    formulas.comparison,
    formulas.ratio,
    formulas.fraction,
    quantities.amount_range,
    quantities.listed_pair,
    quantities.angle,
    formulas.hyphenated,
    quantities.sign,
    quantities.bare_unit,
    codes.english_ordinal,
    codes.english_decade,
    codes.code,
    quantities.measure,
    quantities.number,
    codes.abbreviation,
    codes.initials,
    codes.roman_number,
    codes.latin_words,
)


def read_expression(written: str, position: int) -> tuple[str, int] | None:
    """Return the reading of the expression at a position and where it ends, None if there is none."""
    for expression in _ORDER:
        match = expression.compiled.match(written, position)
        if match:
            spoken = expression.read(match, written)
            if spoken is not None:
                return spoken, match.end()
    return None
