"""Amounts in words: a currency as the language writes it, any other unit behind the number.

Amounts are in thousandths of their unit, as the store has them.
"""

from babel.numbers import format_compact_decimal, format_decimal, get_currency_symbol, is_currency

_HOME = {"IDR": "id"}
"""Where a symbol is the same in every language: `Rp`, which English would write `IDR`."""
_WHOLE_FROM_MILLI = 10_000_000
"""From here on an amount that is said to be about so much is told in thousands, millions, …"""


def exact(milli: int, unit: str, language: str) -> str:
    r"""Return an amount as it is.

    Examples
    --------
    >>> exact(150_000_000, "IDR", "en"), exact(99_950, "USD", "id"), exact(3_500, "kWh", "id")
    ('Rp\xa0150,000', 'US$99,95', '3,5\xa0kWh')
    """
    pattern = "#,##0.00" if milli % 1_000 and is_currency(unit) else "#,##0.###"
    return _with_unit(str(format_decimal(milli / 1_000, pattern, locale=language)), unit, language)


def about(milli: int, unit: str, language: str) -> str:
    r"""Return about how much an amount is.

    Examples
    --------
    >>> about(84_230_250_500, "IDR", "en"), about(84_000_000_000, "IDR", "id"), about(990_400, "", "en")
    ('Rp\xa084.2 million', 'Rp\xa084 juta', '990')
    """
    if milli < _WHOLE_FROM_MILLI:
        number = str(format_decimal(milli / 1_000, "#,##0" if milli >= 10_000 else "#,##0.##", locale=language))
    else:
        number = format_compact_decimal(milli / 1_000, format_type="long", locale=language, fraction_digits=1)
    return _with_unit(number, unit, language)


def _with_unit(number: str, unit: str, language: str) -> str:
    if not unit:
        return number
    if not is_currency(unit):
        return f"{number}\u00a0{unit}"
    symbol = get_currency_symbol(unit, locale=_HOME.get(unit, language))
    return f"{symbol}\u00a0{number}" if symbol[-1].isalpha() else f"{symbol}{number}"
