"""Revenue of a payload, checked and converted to whole minor units of its currency."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, localcontext

from ingest.contract.limits import MAX_AMOUNT
from ingest.contract.reasons import Reason
from ingest.pipeline.payload import Revenue
from liveinsight.model.currencies import EXPONENTS
from liveinsight.model.errors import InvalidPayload

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def minor_units(revenue: Revenue) -> tuple[int, str]:
    """(whole minor units, currency code).

    Raises:
        InvalidPayload: no or an unknown currency, or an amount that is missing, no number, negative or too large.
    """
    if not revenue.currency:
        raise InvalidPayload(Reason.MISSING_FIELD, "revenue needs a currency", field="revenue.currency")
    currency = revenue.currency.strip().upper()
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise InvalidPayload(
            Reason.UNKNOWN_CURRENCY, "not a currency code of ISO 4217, such as EUR", field="revenue.currency"
        )
    amount = _amount(revenue.amount)
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT:
        raise InvalidPayload(Reason.INVALID_REVENUE, f"use an amount from 0 to {MAX_AMOUNT}", field="revenue.amount")
    with localcontext(prec=60):
        return int(amount.scaleb(exponent).to_integral_value(ROUND_HALF_UP)), currency


def _amount(amount: int | float | str | None) -> Decimal:
    if amount is None:
        raise InvalidPayload(Reason.MISSING_FIELD, "revenue needs an amount", field="revenue.amount")
    if isinstance(amount, str):
        amount = amount.strip()
        if not _NUMBER.fullmatch(amount):
            raise InvalidPayload(Reason.INVALID_REVENUE, "the amount is not a number", field="revenue.amount")
        return Decimal(amount)
    # The shortest text of a float is the decimal number that the page meant.
    return Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
