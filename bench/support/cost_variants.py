"""Changes to the design whose cost can be computed before they are made. None is part of the product.

Each wraps the real store, changes a cadence, or changes what the metering takes an item to be. They are built to be
counted, not to be kept: what one would need besides stands in its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.support.metering import Metering, with_sketch_of
from bench.support.null_store import NAMES
from liveinsight.aws.dynamodb import Dynamo, Item
from liveinsight.aws.dynamodb_store import DynamoStore
from liveinsight.counting.keys import SEEN
from liveinsight.storage.store import CounterWrite, TimelineChunk, Written

SMALL_SKETCH_BYTES = 680


@dataclass(frozen=True)
class Variant:
    """One change, or several."""

    name: str
    no_timeline: bool = False
    """No chunks; what waits in the visitors' states stays there."""
    no_live_list: bool = False
    """Nobody is listed as seen in a minute: there is no list of active sessions."""
    small_sketches: bool = False
    """Sketches of breakdowns have 2^10 rows: 680 bytes at most, and 2.1 % standard error instead of 1.5."""
    no_sketches: bool = False
    """Distinct visitors in totals only."""
    sessions_interval: float = 0
    """Seconds; 0 keeps the cadence."""

    def metering(self) -> Metering:
        """The database that such items would be stored in."""
        return Metering(resized=self._resized)

    def store(self, dynamo: Dynamo) -> DynamoStore:
        """The store that would write them."""
        return _Store(dynamo, self)

    def _resized(self, kind: str, item: Item) -> Item:
        if kind.startswith("dimension") and (self.no_sketches or self.small_sketches):
            size = 0 if self.no_sketches else SMALL_SKETCH_BYTES
            return {**item, "b": {"B": with_sketch_of(size, item["b"]["B"])}}
        return item


class _Store(DynamoStore):
    def __init__(self, dynamo: Dynamo, variant: Variant) -> None:
        super().__init__(dynamo, NAMES)
        self._variant = variant

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        kept = [write for write in writes if not (self._variant.no_live_list and write.key.dimension == SEEN)]
        return super().write_counters(shard, kept)

    def write_timeline(self, chunks: Sequence[TimelineChunk]) -> None:
        if not self._variant.no_timeline:
            super().write_timeline(chunks)


AS_IT_IS = Variant("as it is")
VARIANTS = (
    AS_IT_IS,
    Variant("no live list", no_live_list=True),
    Variant("no timeline", no_timeline=True),
    Variant("small sketches in breakdowns", small_sketches=True),
    Variant("no sketches in breakdowns", no_sketches=True),
    Variant("sessions every 15 s", sessions_interval=15),
    Variant("sessions every 30 s", sessions_interval=30),
    Variant("sessions every 60 s", sessions_interval=60),
    Variant("sessions every 30 s, small sketches", sessions_interval=30, small_sketches=True),
)
"""The first is the product."""
