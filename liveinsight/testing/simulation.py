"""Simulates the life of a stream from one seed: visitors, reshards, and processors that crash, stall or lose a shard.

    log        random events, repeats, dead letters    --put-->  stream, split and merged while it is read
    owners     each drives one processor on one shard: a few records, a few more, a drain, a crash
    thieves    take a shard that has an owner; the old owner goes on, at once or after a long sleep (a zombie)
    store      `FaultyStore`: between any two of its calls all of the above may happen

The processor is an argument, so every runtime (embedded worker, Kinesis Client Library, Lambda) can be tested. At the
end `Simulation.expected` says what must be stored: each event folded once, in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from liveinsight.model.errors import FlushAbandoned, StoreUnavailable
from liveinsight.model.events import (
    CLICK,
    CONVERSION,
    HEARTBEAT,
    LEDGER,
    PAGE_EXIT,
    PAGE_VIEW,
    Event,
    encode_record,
    partition_key,
)
from liveinsight.model.marks import event_mark, mark_prefix, record_mark
from liveinsight.storage.store import SHARD_END, Checkpoint, CheckpointStore, ProcessorStore, Store
from liveinsight.storage.stream import OutRecord, Record, StartAt
from liveinsight.testing.builders import NOON, FakeClock, an_event
from liveinsight.testing.expected import Tally, recount
from liveinsight.testing.faulty_store import Crash, Faults, FaultyStore
from liveinsight.testing.memory_stream import MemoryStream

MAX_STEPS = 20_000
"""A run with more steps does not end, which is a failure."""
MAX_DEPTH = 4
"""Owners that may be between two calls at the same time."""
KINDS = (PAGE_VIEW,) * 6 + (CLICK,) * 2 + (HEARTBEAT, CONVERSION, PAGE_EXIT, LEDGER)
VISITORS = (1, 257, 2, 258, 3)
"""Numbers that differ by 256 share a virtual bucket, so their events share records."""


class Checkpointer(Protocol):
    """Moves one shard's checkpoint."""

    def checkpoint(self, sequence_number: str) -> None:
        """Everything up to here is stored."""


class ShardProcessor(Protocol):
    """The calls that a runtime makes."""

    def initialize(self, shard_id: str, sequence_number: str) -> None:
        """A lease begins."""

    def process_records(self, records: Sequence[Record], checkpointer: Checkpointer, millis_behind: int) -> None:
        """The next records, or none."""

    def lease_lost(self) -> None:
        """Somebody else has the shard."""

    def shard_ended(self, checkpointer: Checkpointer) -> None:
        """There will be no more records."""

    def shutdown_requested(self, checkpointer: Checkpointer) -> None:
        """The last chance to write."""


MakeProcessor = Callable[[ProcessorStore, int, FakeClock], ShardProcessor]
"""(store, incarnation of the stream, clock): a processor whose pauses turn the clock on."""


class Owner:
    """A processor on a shard, from the shard's checkpoint on."""

    def __init__(
        self, simulation: Simulation, store: CheckpointStore, shard_id: str, after: str, processor: ShardProcessor
    ) -> None:
        self.shard_id = shard_id
        self.busy = self.asleep = self.ended = False
        self._clock, self._stream, self._store = simulation.clock, simulation.stream, store
        self._incarnation = simulation.incarnation
        self._iterator = self._stream.iterator(shard_id, after=after or None, start=StartAt.TRIM_HORIZON)
        self._processor = processor
        processor.initialize(shard_id, after)

    def checkpoint(self, sequence_number: str) -> None:
        """Everything up to here is stored."""
        self._store.write_checkpoint(self.shard_id, Checkpoint(self._incarnation, sequence_number))

    def step(self, rng: random.Random) -> None:
        """Read and process a few records; rarely, leave for good."""
        self.busy = True
        try:
            dice = rng.random()
            if dice < 0.01:
                self._processor.lease_lost()
                raise Crash
            if dice < 0.02:
                self._processor.shutdown_requested(self)
                raise Crash
            self._clock.advance(seconds=rng.choice([0, 0.5, 1.5]))
            batch = self._stream.read(self._iterator, rng.randint(1, 6))
            self._processor.process_records(batch.records, self, batch.millis_behind)
            if batch.next_iterator is None:
                self._processor.shard_ended(self)
                self.ended = True
            else:
                self._iterator = batch.next_iterator
        finally:
            self.busy = False


class Simulation:
    """One run.

    Args:
        seed: decides everything.
        make_processor: what is put to the test.
        store: where things are stored in the end.
        faults: what `FaultyStore` does to it.
        events: of the log, at most, before repetitions.
        start: when everything begins, epoch ms; a store that removes what has expired needs one in the future.
        site: of all events; with an `incarnation` of its own, several runs may share a store.
        incarnation: of the stream.
    """

    def __init__(
        self,
        seed: int,
        make_processor: MakeProcessor,
        *,
        store: Store,
        faults: Faults = Faults(),  # noqa: B008 - frozen
        events: int = 60,
        start: int = NOON,
        site: str = "default",
        incarnation: int = 1,
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock(start)
        self.incarnation = incarnation
        self.stream = MemoryStream(self.clock, shards=1, created_at=incarnation)
        self.placed: list[tuple[str, str, Event]] = []
        """(shard, mark, event) in the order in which they were put on the stream."""
        self.dead_letters: list[str] = []
        self._seed = seed
        self._make_processor = make_processor
        self._store = FaultyStore(store, self.rng, faults)
        self._store.meanwhile = self._meanwhile
        self._log = random_log(self.rng, events, start, site)
        self._open = ["shardId-000000000000"]
        self._to_read = {*self._open}
        self._ended: set[str] = set()
        self._owners: list[Owner] = []
        self._depth = 0

    def run(self) -> None:
        """Let everything happen until every shard is read to its end and every zombie has had its say."""
        for _ in range(MAX_STEPS):
            if self._log and self.rng.random() < 0.3:
                self._produce()
            self._assign()
            self._one_step()
            if not self._log and self._ended >= self._to_read:
                break
        else:
            raise AssertionError(f"seed {self._seed}: the run did not come to an end")
        while self._owners:
            self._wake_all()
            self._one_step()

    def expected(self) -> Tally:
        """What must be stored: each event folded once, in the order of the stream."""
        return recount(((mark, event) for _, mark, event in self.placed), self.dead_letters)

    def _produce(self) -> None:
        """Put the next few entries of the log; then perhaps reshard. At the end, close all shards."""
        entries = [self._log.pop(0) for _ in range(min(len(self._log), self.rng.randint(1, 6)))]
        by_key: dict[str, list[Event]] = {}
        for entry in entries:
            if isinstance(entry, bytes):
                self._put(f"b{self.rng.randrange(256):03d}", entry, [])
            else:
                by_key.setdefault(partition_key(entry.visitor), []).append(entry)
        for key, events in by_key.items():
            self._put(key, encode_record(events), events)
        if not self._log:
            for shard_id in self._open:
                self.stream.split(shard_id)
        elif self.rng.random() < 0.15:
            self._reshard()

    def _put(self, key: str, data: bytes, events: list[Event]) -> None:
        shard, number, _ = self.stream.put([OutRecord(key, data)])[0]
        record = record_mark(mark_prefix(self.incarnation, shard), number)
        self.placed.extend((shard, event_mark(record, index), event) for index, event in enumerate(events))
        if not events:
            self.dead_letters.append(record)

    def _reshard(self) -> None:
        at = self.rng.randrange(len(self._open))
        if at and self.rng.random() < 0.6:
            self._open[at - 1 : at + 1] = [self.stream.merge(self._open[at - 1], self._open[at])]
        else:
            self._open[at : at + 1] = self.stream.split(self._open[at])
        self._to_read.update(self._open)

    def _assign(self) -> None:
        """Owners for shards that have none and whose parents are done; now and then a thief where there is one."""
        for shard_id, parents in self.stream.shards():
            if shard_id not in self._to_read - self._ended or not self._ended.issuperset(parents):
                continue
            rivals = [owner for owner in self._owners if owner.shard_id == shard_id and not owner.asleep]
            if not rivals or self.rng.random() < 0.02:
                for rival in rivals:
                    rival.asleep = self.rng.random() < 0.5
                self._take(shard_id)

    def _take(self, shard_id: str) -> None:
        try:
            stored = self._store.load_checkpoints().get(shard_id)
        except (Crash, StoreUnavailable):
            return
        after = stored.sequence_number if stored and stored.incarnation == self.incarnation else ""
        if after == SHARD_END:
            self._ended.add(shard_id)
            return
        processor = self._make_processor(self._store, self.incarnation, self.clock)
        self._owners.append(Owner(self, self._store, shard_id, after, processor))

    def _one_step(self) -> None:
        idle = [owner for owner in self._owners if not owner.busy and not owner.asleep]
        if not idle:
            return
        owner = self.rng.choice(idle)
        try:
            owner.step(self.rng)
        except (Crash, FlushAbandoned):
            self._owners.remove(owner)
        if owner.ended:
            self._owners.remove(owner)
            self._ended.add(owner.shard_id)

    def _meanwhile(self) -> None:
        """What other owners do between two calls of one: nothing, a little, or a lot."""
        if self._depth == MAX_DEPTH:
            return
        dice = self.rng.random()
        if dice < 0.01:
            self._wake_all()
        elif dice < 0.11:
            self._depth += 1
            for _ in range(self.rng.choice([1, 1, 2, 10])):
                self._assign()
                self._one_step()
            self._depth -= 1

    def _wake_all(self) -> None:
        for owner in self._owners:
            owner.asleep = False


def random_log(rng: random.Random, events: int, start: int, site: str) -> list[Event | bytes]:
    """Events of a few visitors, some in tabs, some out of order, some sent twice; and bytes that are no record."""
    at = start
    log: list[Event | bytes] = []
    for number in range(rng.randint(events // 3, events)):
        at += rng.choice([0, 1_000, 60_000, 600_000, 1_900_000])
        visitor = rng.choice(VISITORS)
        kind = rng.choice(KINDS)
        event = an_event(
            at=at + rng.choice([0, 0, 0, -30_000, -400_000, -4_000_000]),
            site=site,
            visitor=visitor,
            event_id=number + 1,
            received_at=at,
            type=kind,
            session_id=rng.choice(["", "", f"{visitor}-a", f"{visitor}-b"]),
            page=rng.choice(["/a", "/b", "/c"]),
            source=rng.choice(["", "Google"]),
            recent=rng.random() < 0.9,
            revenue=number if kind == CONVERSION else 0,
            currency="EUR" if kind == CONVERSION else "",
            scroll_percent=number if kind == PAGE_EXIT else 0,
            props={"bot": number} if kind == LEDGER else None,
        )
        log.append(event)
        if rng.random() < 0.08:
            log.append(event)
        if rng.random() < 0.04:
            log.append(rng.choice([b"", b"not ours", b"LI\x09", encode_record([event])[:-3]]))
    return log
