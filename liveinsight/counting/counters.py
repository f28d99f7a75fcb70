"""A stored counter item, and how contributions are applied to it.

The library of sketches brings numpy: it is imported with the first sketch, so that programs that count nothing stay
small and start quickly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from liveinsight.counting.contributions import PendingContributions
from liveinsight.counting.rollups import MEASURE_CODES, TOTALS_LG_K, Measures, lg_k_of
from liveinsight.model.marks import NO_MARK

if TYPE_CHECKING:
    import datasketches


@dataclass(slots=True)
class CounterItem:
    """One counter of one shard.

    `hours` holds page views by local hour; `sketch` the distinct visitors; `mark` the last contribution in it.
    `embedded` holds the counters that are stored with it, by name (see `layout.storage_item`); its mark is theirs, too.
    """

    measures: Measures = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)
    sketch: datasketches.cpc_sketch | None = None
    mark: str = NO_MARK
    embedded: dict[str, CounterItem] = field(default_factory=dict)

    @property
    def visitors(self) -> int:
        """Estimated distinct visitors."""
        return 0 if self.sketch is None else round(self.sketch.get_estimate())


def apply_contributions(
    item: CounterItem, batches: Iterable[tuple[str, PendingContributions]], kind: str = "totals", dimension: str = ""
) -> bool:
    """Add to `item`, in place, the contributions beyond its mark. False when there were none.

    Args:
        item: a stored item as it was loaded.
        batches: contributions with the name of the embedded counter that they are for; "" is the item's own.
        kind: kind of the item's key; it decides the size of new sketches.
        dimension: dimension of the item's key, likewise.
    """
    start = mark = item.mark
    for name, batch in batches:
        beyond = batch.beyond(start)
        if beyond is None:
            continue
        counter = item.embedded.setdefault(name, CounterItem()) if name else item
        _add(counter, beyond, lg_k_of(kind, name or dimension))
        mark = max(mark, beyond.parts[-1].mark)
    item.mark = mark
    return mark != start


def _add(item: CounterItem, pending: PendingContributions, lg_k: int) -> None:
    """Add all of `pending` to `item`; a new sketch gets 2^`lg_k` rows."""
    if len(pending.parts) == 1:
        # Fast path for a quiet site: one contribution needs no sums.
        one = pending.parts[0]
        amounts = one.measures
        views = amounts.get("pageviews", 0) if one.hour >= 0 else 0
        hours = {one.hour: views} if views else {}
        visitors: Collection[int] = (one.visitor,) if one.visitor else ()
    else:
        sums = pending.sums()
        amounts, hours, visitors = sums.measures, sums.hours, sums.visitors
    if item.measures:
        _add_amounts(item.measures, amounts)
    else:
        item.measures.update(amounts)
    for hour, number in hours.items():
        item.hours[hour] = item.hours.get(hour, 0) + number
    if visitors:
        if item.sketch is None:
            import datasketches  # noqa: PLC0415

            item.sketch = datasketches.cpc_sketch(lg_k)
        update = item.sketch.update
        for visitor in visitors:
            update(visitor)


def _add_amounts(measures: Measures, amounts: Measures) -> None:
    for name, amount in amounts.items():
        measures[name] = measures.get(name, 0) + amount


def split_totals(
    items: Iterable[tuple[int, CounterItem]], first_quarter: int, last_quarter: int
) -> list[tuple[int, CounterItem]]:
    """The (quarter, counter) pairs from first to last quarter that items of totals hold; `items` come by bucket."""
    found = []
    for bucket, item in items:
        for number, counter in [(bucket, item), *((bucket + int(name), one) for name, one in item.embedded.items())]:
            if first_quarter <= number <= last_quarter and (counter.measures or counter.sketch is not None):
                found.append((number, counter))
    return found


_CODE_OF: dict[str, int | str] = {name: code for code, name in enumerate(MEASURE_CODES)}
_NAME_OF: dict[int | str, str] = {code: name for name, code in _CODE_OF.items()}


class _Body(msgspec.Struct, array_like=True, omit_defaults=True):
    measures: dict[int | str, int]
    hours: dict[int, int]
    sketch: bytes
    embedded: dict[str, _Body] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def encode_counter(item: CounterItem) -> bytes:
    """Stored form of an item, without its mark; zeros that corrections have left are left out."""
    return _encoder.encode(_body(item))


def _body(item: CounterItem) -> _Body:
    code_of = _CODE_OF.get
    measures = {code_of(name, name): amount for name, amount in item.measures.items() if amount}
    sketch = b"" if item.sketch is None else item.sketch.serialize()
    return _Body(measures, item.hours, sketch, {name: _body(other) for name, other in item.embedded.items()})


def decode_counter(data: bytes, mark: str) -> CounterItem:
    """Inverse of `encode_counter`."""
    return _item(_decoder.decode(data), mark)


def _item(body: _Body, mark: str) -> CounterItem:
    sketch = None
    if body.sketch:
        import datasketches  # noqa: PLC0415

        sketch = datasketches.cpc_sketch.deserialize(body.sketch)
    embedded = {name: _item(other, NO_MARK) for name, other in body.embedded.items()}
    measures = {_name(code): amount for code, amount in body.measures.items()}
    return CounterItem(measures, body.hours, sketch, mark, embedded)


def _name(code: int | str) -> str:
    return code if isinstance(code, str) else _NAME_OF[code]


def merge_items(items: Iterable[CounterItem]) -> CounterItem:
    """Sum of items (of shards, of buckets); the sketches are united. The result has no mark."""
    total = CounterItem()
    union = None
    for item in items:
        _add_amounts(total.measures, item.measures)
        for hour, views in item.hours.items():
            total.hours[hour] = total.hours.get(hour, 0) + views
        if item.sketch is not None:
            if union is None:
                import datasketches  # noqa: PLC0415

                # It takes on the fewest rows of those that it unites.
                union = datasketches.cpc_union(TOTALS_LG_K)
            union.update(item.sketch)
    if union is not None:
        total.sketch = union.get_result()
    return total
