"""Counts the records of one invocation with the same core as every worker, and a full flush before the answer.

    claim -> check and drop what the checkpoint covers -> fold -> counters -> visitors -> checkpoint

Nothing is kept between invocations: while this container sleeps, another one may count the shard. So states and
counters are read again each time, strongly consistent. The checkpoint is kept where the embedded worker keeps it: for
`status`, for a change of runtime, and to check the order of batches:

* Records that the checkpoint covers are counted, so folding them again must add nothing. If it would, batches of the
  shard have overtaken each other (ParallelizationFactor above 1), and nothing is written.
* A child shard begins only when its parents are read to their ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Protocol

from msgspec.structs import replace

from liveinsight.counting.fold import fold
from liveinsight.counting.sessions import new_visitor
from liveinsight.model.clock import Clock
from liveinsight.model.errors import FlushAbandoned, LiveInsightError, StoreUnavailable
from liveinsight.storage.store import SHARD_END, Checkpoint, CheckpointStore, DocumentStore, ProcessorStore, Watermark
from liveinsight.storage.stream import Record, Stream
from processor.aws_lambda.claim import REMEDY, Claim
from processor.aws_lambda.event import LambdaRefused, ShardBatch
from processor.shard.checkpoints import StoreCheckpointer
from processor.shard.dead_letter_limit import DeadLetterLimit
from processor.shard.options import ProcessorOptions
from processor.shard.record_decoder import RecordDecoder
from processor.shard.record_processor import RecordProcessor
from processor.status.backlog import find_backlog

logger = logging.getLogger(__name__)


class LambdaStore(ProcessorStore, CheckpointStore, DocumentStore, Protocol):
    """The part of the store that counting in Lambda uses."""


class BatchCounter:
    """Counts batches; one instance a container. It caches nothing that is stored.

    Args:
        stream: names the parents of shards.
        store: where everything is written.
        options: limits; the cadences are ignored.
        clock: current time.
        sleep: waits between attempts.
        records_per_step: records folded between two looks at the clock.
    """

    def __init__(
        self,
        stream: Stream,
        store: LambdaStore,
        options: ProcessorOptions,
        clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
        *,
        records_per_step: int = 500,
    ) -> None:
        self._stream = stream
        self._store = store
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._records_per_step = records_per_step
        # Without these the limit would start again with each batch.
        self._limits: dict[str, DeadLetterLimit] = {}

    def count(self, batch: ShardBatch, incarnation: int, give_up_at: int, killed_at: int) -> str:
        """Count a batch. Returns the sequence number of the first record that is not counted, "" if all are.

        Args:
            batch: of one shard.
            incarnation: of the stream.
            give_up_at: when to stop retrying, epoch ms.
            killed_at: when Lambda ends the invocation, epoch ms.

        Raises:
            LiveInsightError: perhaps nothing of the batch is counted; the same batch must be delivered again.
        """
        claim = Claim(self._store, batch.shard_id, incarnation, self._clock)
        claim.look()
        checkpoints = {s: p for s, p in self._store.load_checkpoints().items() if p.incarnation == incarnation}
        numbers = [record.sequence_number for record in batch.records]
        claim.take(numbers, killed_at, checkpoints.get(batch.shard_id))
        try:
            fresh = self._without_the_counted(batch, incarnation, checkpoints.get(batch.shard_id))
            if batch.shard_id not in checkpoints:
                self._finish_parents(batch.shard_id, incarnation, checkpoints)
            left = self._count_fresh(fresh, batch.shard_id, incarnation, give_up_at) if fresh else ""
        except LiveInsightError:
            self._release(claim)
            raise
        if left:
            self._release(claim)
        return left

    def _release(self, claim: Claim) -> None:
        try:
            claim.release()
        except StoreUnavailable as error:
            logger.warning("claim not released", extra={"action": "release", "problem": str(error)})

    def _without_the_counted(
        self, batch: ShardBatch, incarnation: int, checkpoint: Checkpoint | None
    ) -> Sequence[Record]:
        if checkpoint is None:
            return batch.records
        done = checkpoint.sequence_number
        counted = [r for r in batch.records if done == SHARD_END or int(r.sequence_number) <= int(done)]
        if counted:
            self._check_counted(counted, batch.shard_id, incarnation)
        return batch.records[len(counted) :]

    def _check_counted(self, records: Sequence[Record], shard_id: str, incarnation: int) -> None:
        marked = RecordDecoder(shard_id, incarnation, DeadLetterLimit(1)).decode(records).events
        keys = {(event.site, event.visitor) for _, event in marked}
        states = self._store.load_visitors(list(keys))
        for mark, event in marked:
            state = states.setdefault((event.site, event.visitor), new_visitor(event.site, event.visitor))
            if fold(state, event, mark).contributions:
                raise LambdaRefused(
                    f"shard {shard_id}: a record arrives after the checkpoint has passed it, and it is not counted. "
                    f"Batches of the shard are processed in parallel: {REMEDY}. Otherwise the mapping begins before "
                    "the position where counting began (LIVEINSIGHT_START_AT=LATEST): let it begin there. Nothing was "
                    "written"
                )

    def _finish_parents(self, shard_id: str, incarnation: int, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Close the parents. Lambda does not report the end of a shard, so its first child does this."""
        shards = self._stream.shards()
        listed = {shard.shard_id for shard in shards}
        parents = [parent for shard in shards if shard.shard_id == shard_id for parent in shard.parents]
        for parent in parents:
            point = checkpoints.get(parent)
            if point is None or point.sequence_number == SHARD_END or parent not in listed:
                continue
            now = self._clock()
            after = point.sequence_number
            backlog = find_backlog(self._stream, parent, after, not_before=0, now=now, sleep=self._sleep)
            if not backlog.at_end:
                raise LambdaRefused(f"the parent {parent} of shard {shard_id} is not read to its end yet: try again")
            self._store.write_watermark(Watermark(parent, now, True, incarnation, now))
            self._store.write_checkpoint(parent, Checkpoint(incarnation, SHARD_END))

    def _count_fresh(self, records: Sequence[Record], shard_id: str, incarnation: int, give_up_at: int) -> str:
        began = self._clock()
        seconds = max(0.0, (give_up_at - began) / 1000)
        limit = deepcopy(self._limits.get(shard_id)) or DeadLetterLimit(self._options.dead_letter_limit)
        options = replace(self._options, give_up_after=seconds, drain_within=seconds)
        checkpointer = StoreCheckpointer(self._store, shard_id, incarnation)
        sleep = self._sleep_until(give_up_at)
        processor = RecordProcessor(self._store, incarnation, options, self._clock, sleep, limit=limit)
        processor.initialize(shard_id, "")
        fed = ""
        try:
            for at in range(0, len(records), self._records_per_step):
                if at and self._clock() - began > (give_up_at - began) / 2:
                    break  # The other half of the time is for the flush.
                part = records[at : at + self._records_per_step]
                # Lambda does not report its lag: records that arrived after the last one may exist.
                processor.process_records(part, checkpointer, max(0, self._clock() - part[-1].arrived_at))
                fed = part[-1].sequence_number
            if checkpointer.reached != fed:
                processor.shutdown_requested(checkpointer)
        except FlushAbandoned:
            if not checkpointer.reached:
                raise
            logger.warning("batch counted in part", extra={"action": "partial", "shard": shard_id})
        self._limits[shard_id] = limit
        done = int(checkpointer.reached)
        return next((r.sequence_number for r in records if int(r.sequence_number) > done), "")

    def _sleep_until(self, give_up_at: int) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            if self._clock() + round(seconds * 1000) >= give_up_at:
                raise FlushAbandoned("the time of the invocation is over")
            self._sleep(seconds)

        return sleep
