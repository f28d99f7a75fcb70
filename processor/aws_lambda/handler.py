"""The AWS Lambda function: `processor.aws_lambda.handler.handler`, mapped to the Kinesis stream (see `deploy/`).

In: the events of a Kinesis event source mapping. Out: an answer that names the first record that is not counted, or an
error, after which Lambda delivers the same records again. All records before the named one are stored.

Settings come from the environment, as everywhere. The function counts the first generation; see `liveinsight rebuild`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from liveinsight.aws.lambda_mapping import Mappings, check_mappings, lambda_client
from liveinsight.model.clock import Clock, system_clock
from liveinsight.runtime.json_logs import log_to_stderr
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.storage.stream import Stream
from liveinsight.wiring import open_generations, open_stream
from processor.aws_lambda.batch import BatchCounter
from processor.aws_lambda.event import LambdaRefused, parse_event
from processor.shard.options import ProcessorOptions

logger = logging.getLogger(__name__)

ANSWER_MS = 1_000
"""Reserved for the answer."""
REFRESH_MS = 60_000
"""How long a warm container caches facts about the stream and the mapping."""

Answer = dict[str, list[dict[str, str]]]


class Context(Protocol):
    """The part of Lambda's context that is used."""

    @property
    def invoked_function_arn(self) -> str:
        """The function, as the mapping names it."""

    def get_remaining_time_in_millis(self) -> int:
        """Time until Lambda ends the invocation."""


class Handler:
    """Serves invocations, one at a time.

    Args:
        stream_name: the only stream whose records are accepted.
        stream: to ask for its incarnation.
        counter: counts.
        check: reads the mappings between a function and an event source.
        newest: gives the generation that is written.
        clock: current time.
    """

    def __init__(
        self,
        stream_name: str,
        stream: Stream,
        counter: BatchCounter,
        check: Callable[[str, str], Mappings],
        clock: Clock,
        *,
        newest: Callable[[], int] = lambda: FIRST,
    ) -> None:
        self._stream_name = stream_name
        self._stream = stream
        self._counter = counter
        self._check = check
        self._clock = clock
        self._newest = newest
        self._incarnation = 0
        self._mappings = Mappings([], False, "not asked yet")
        self._asked_at = -REFRESH_MS

    def __call__(self, event: dict[str, Any], context: Context) -> Answer:
        """Count a batch.

        Raises:
            LiveInsightError: nothing was counted, and the message says why.
        """
        began = self._clock()
        killed_at = began + context.get_remaining_time_in_millis()
        batch = parse_event(event)
        if batch.stream_name != self._stream_name:
            raise LambdaRefused(
                f"the records are of stream {batch.stream_name}, but LIVEINSIGHT_STREAM is {self._stream_name}"
            )
        if began - self._asked_at >= REFRESH_MS:
            self._ask(context.invoked_function_arn, batch.source_arn)
            self._asked_at = began
        first = self._counter.count(batch, self._incarnation, killed_at - ANSWER_MS, killed_at)
        if not first:
            return {"batchItemFailures": []}
        if not self._mappings.reports_failures:
            # A mapping that does not read the answer would take it for success.
            raise LambdaRefused(f"the time was not enough: counted up to {first}, the rest must come again")
        return {"batchItemFailures": [{"itemIdentifier": first}]}

    def _ask(self, function_arn: str, source_arn: str) -> None:
        self._mappings = self._check(function_arn, source_arn)
        if self._mappings.problems:
            raise LambdaRefused("; ".join(self._mappings.problems))
        if self._mappings.unknown:
            logger.warning(
                "event source mapping unknown: parallel batches are detected when they arrive",
                extra={"action": "mapping_unknown", "problem": self._mappings.unknown},
            )
        if (newest := self._newest()) != FIRST:
            # Counting the first generation keeps a rollback possible.
            logger.error(
                "another generation is shown, and this function does not count it: use another runtime, or "
                "`liveinsight rebuild rollback`",
                extra={"action": "other_generation", "newest": newest},
            )
        self._incarnation = self._stream.incarnation()


@cache
def configured_handler() -> Handler:
    """The handler that the environment describes; made once."""
    settings = Settings.from_env({**os.environ, "LIVEINSIGHT_BACKEND": "aws"})
    log_to_stderr(settings.log_level)
    stream, store = open_stream(settings), open_generations(settings)(FIRST)
    client = lambda_client(settings)
    return Handler(
        settings.stream_name,
        stream,
        BatchCounter(stream, store, ProcessorOptions.from_settings(settings), system_clock),
        lambda function_arn, source_arn: check_mappings(client, function_arn, source_arn),
        system_clock,
        newest=lambda: load_pointer(store).newest,
    )


def handler(event: dict[str, Any], context: Context) -> Answer:
    """The entry point of the function."""
    return configured_handler()(event, context)
