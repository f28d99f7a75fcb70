"""Minor units of currencies: 12.50 EUR is 1250, 1200 JPY is 1200, 1.5 KWD is 1500.

Exponents are those of the `iso4217` package, which is released with the maintenance agency's table. Ingest converts to
minor units and the read API converts back, both by this table.
"""

from __future__ import annotations

import iso4217

# Metals, test codes and drawing rights have no minor unit, and are no currencies here.
EXPONENTS: dict[str, int] = {
    currency.code: currency.exponent for currency in iso4217.Currency if currency.exponent is not None
}


def major_units(minor: int, currency: str) -> float:
    """1250 EUR cents as 12.5. A currency that the table no longer has is taken to have two digits, as most do."""
    return minor / float(10 ** EXPONENTS.get(currency, 2))
