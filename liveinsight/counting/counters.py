"""A stored counter item, and how contributions are applied to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import datasketches
import msgspec

from liveinsight.counting.rollups import MEASURE_CODES, TOTALS_LG_K, Measures, lg_k_of
from liveinsight.model.marks import NO_MARK

Part = tuple[object, str, Measures, int, int]
"""A `fold.Contribution`, as it waits to be added to the counters that it names first."""


@dataclass(slots=True)
class CounterItem:
    """One counter of one shard.

    `hours` holds page views by local hour; `sketch` the distinct visitors; `mark` the last contribution in it.
    `beside` holds the counters that are stored with it (see `fold.home`), by dimension: the item's mark is theirs.
    """

    measures: Measures = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)
    sketch: datasketches.cpc_sketch | None = None
    mark: str = NO_MARK
    beside: dict[str, CounterItem] = field(default_factory=dict)

    @property
    def visitors(self) -> int:
        """Estimated distinct visitors."""
        return 0 if self.sketch is None else round(self.sketch.get_estimate())


class Batch:
    """Contributions that go to the same counters. `parts` are in order of their marks: append, and nothing else.

    A batch of many is added up once for all its counters, and again only for what has come since.
    """

    __slots__ = ("_sums", "_taken", "parts")

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self.parts = list(parts)
        self._sums: _Sums | None = None
        self._taken = 0

    @property
    def is_fresh(self) -> bool:
        """Whether there are parts that `take_fresh` has not given."""
        return len(self.parts) > self._taken

    def take_fresh(self) -> Batch:
        """The parts that this has not given before."""
        fresh = Batch(self.parts[self._taken :])
        self._taken = len(self.parts)
        return fresh

    def add_to(self, item: CounterItem, lg_k: int) -> None:
        """Add all of it to `item`, in place; a new sketch gets 2^`lg_k` rows."""
        if len(self.parts) == 1:
            # Most of a quiet site's: sums of one would be a copy.
            _, _, amounts, hour, visitor = self.parts[0]
            views = amounts.get("pageviews", 0) if hour >= 0 else 0
            _add(item, amounts, {hour: views} if views else {}, (visitor,) if visitor else (), lg_k)
            return
        if self._sums is None:
            self._sums = _Sums()
        sums = self._sums
        sums.take(self.parts)
        _add(item, sums.measures, sums.hours, sums.visitors, lg_k)


class _Sums:
    """The sums of a batch's first `count` parts."""

    __slots__ = ("count", "hours", "measures", "visitors")

    def __init__(self) -> None:
        self.count = 0
        self.measures: Measures = {}
        self.hours: dict[int, int] = {}
        self.visitors: set[int] = set()

    def take(self, parts: Sequence[Part]) -> None:
        """Add those that are not in yet."""
        measures, hours, visitors = self.measures, self.hours, self.visitors
        new = parts[self.count :] if self.count else parts
        self.count = len(parts)
        for _, _, amounts, hour, visitor in new:
            for name, amount in amounts.items():
                measures[name] = measures.get(name, 0) + amount
            if hour >= 0 and (views := amounts.get("pageviews")):
                hours[hour] = hours.get(hour, 0) + views
            if visitor:
                visitors.add(visitor)


def apply_batches(
    item: CounterItem, batches: Iterable[tuple[str, Batch]], kind: str = "totals", dimension: str = ""
) -> bool:
    """Add to `item`, in place, the contributions beyond its mark. False when there were none.

    Each batch comes with the name of the counter beside the item's own that it is for, or "". `kind` and
    `dimension` are the item's own and decide the size of new sketches.
    """
    start = mark = item.mark
    for name, batch in batches:
        last = batch.parts[-1][1]
        if last <= start:
            continue
        if batch.parts[0][1] <= start:
            # A replay that is ahead in part: only what the item does not hold yet.
            batch = Batch(part for part in batch.parts if part[1] > start)  # noqa: PLW2901
        batch.add_to(_counter_of(item, name), lg_k_of(kind, name or dimension))
        mark = max(mark, last)
    item.mark = mark
    return mark != start


def apply_pending(item: CounterItem, pending: Sequence[Part]) -> bool:
    """`apply_batches` for contributions to this counter alone, in order of their marks."""
    return apply_batches(item, [("", Batch(pending))] if pending else [])


def _counter_of(item: CounterItem, name: str) -> CounterItem:
    if not name:
        return item
    counter = item.beside.get(name)
    if counter is None:
        counter = item.beside[name] = CounterItem()
    return counter


def _add(item: CounterItem, amounts: Measures, views: dict[int, int], visitors: Collection[int], lg_k: int) -> None:
    measures, hours = item.measures, item.hours
    if measures:
        for name, amount in amounts.items():
            measures[name] = measures.get(name, 0) + amount
    else:
        measures.update(amounts)
    for hour, number in views.items():
        hours[hour] = hours.get(hour, 0) + number
    if visitors:
        if item.sketch is None:
            item.sketch = datasketches.cpc_sketch(lg_k)
        update = item.sketch.update
        for visitor in visitors:
            update(visitor)


_CODE_OF: dict[str, int | str] = {name: code for code, name in enumerate(MEASURE_CODES)}
_NAME_OF: dict[int | str, str] = {code: name for name, code in _CODE_OF.items()}


class _Body(msgspec.Struct, array_like=True, omit_defaults=True):
    measures: dict[int | str, int]
    hours: dict[int, int]
    sketch: bytes
    beside: dict[str, _Body] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


def encode_counter(item: CounterItem) -> bytes:
    """Stored form of an item, without its mark; zeros that corrections have left are left out."""
    return _encoder.encode(_body(item))


def _body(item: CounterItem) -> _Body:
    code_of = _CODE_OF.get
    measures = {code_of(name, name): amount for name, amount in item.measures.items() if amount}
    sketch = b"" if item.sketch is None else item.sketch.serialize()
    return _Body(measures, item.hours, sketch, {name: _body(other) for name, other in item.beside.items()})


def decode_counter(data: bytes, mark: str) -> CounterItem:
    """Inverse of `encode_counter`."""
    return _item(_decoder.decode(data), mark)


def _item(body: _Body, mark: str) -> CounterItem:
    sketch = datasketches.cpc_sketch.deserialize(body.sketch) if body.sketch else None
    beside = {name: _item(other, NO_MARK) for name, other in body.beside.items()}
    measures = {_name(code): amount for code, amount in body.measures.items()}
    return CounterItem(measures, body.hours, sketch, mark, beside)


def _name(code: int | str) -> str:
    return code if isinstance(code, str) else _NAME_OF[code]


def merge_items(items: Iterable[CounterItem]) -> CounterItem:
    """Sum of items (of shards, of buckets); the sketches are united. The result has no mark."""
    total = CounterItem()
    union = None
    for item in items:
        for name, amount in item.measures.items():
            total.measures[name] = total.measures.get(name, 0) + amount
        for hour, views in item.hours.items():
            total.hours[hour] = total.hours.get(hour, 0) + views
        if item.sketch is not None:
            if union is None:
                # It takes on the fewest rows of those that it unites.
                union = datasketches.cpc_union(TOTALS_LG_K)
            union.update(item.sketch)
    if union is not None:
        total.sketch = union.get_result()
    return total
