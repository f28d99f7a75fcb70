"""Minor units of currencies, as the ISO 4217 table of the `iso4217` package has them.

In: an amount in minor units and its currency. Out: the amount as a page would write it. Ingest turns amounts into
minor units by the same table, so what comes out is what went in.
"""

from __future__ import annotations

import iso4217

_DIGITS: dict[str, int] = {
    currency.code: currency.exponent for currency in iso4217.Currency if currency.exponent is not None
}


def major_units(minor: int, currency: str) -> float:
    """1250 EUR cents as 12.5. A currency that has left the table since is taken to have two digits, as most do."""
    return minor / float(10 ** _DIGITS.get(currency, 2))
