"""The function in a Lambda that is not ours: MiniStack's, with its event source mapping, runtime and API.

stream --mapping--> a process of MiniStack's that imports `processor.aws_lambda.handler` --> tables
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from liveinsight.bootstrap import initialise
from liveinsight.devstack.loopback import free_port
from liveinsight.model.buckets import quarter_of
from liveinsight.model.clock import system_clock
from liveinsight.model.events import encode_record, partition_key
from liveinsight.settings import Settings
from liveinsight.storage.store import Store
from liveinsight.storage.stream import OutRecord, Stream
from liveinsight.testing.builders import an_event
from liveinsight.wiring import open_store, open_stream

ROOT = Path(__file__).parents[3]
NAME = "onministack"
STREAM_ARN = f"arn:aws:kinesis:us-east-1:000000000000:stream/{NAME}"


class Cloud:
    """A MiniStack with Lambda in it."""

    def __init__(self, log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log.open("wb")
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LIVEINSIGHT_"))}
        services = {"SERVICES": "dynamodb,kinesis,lambda", "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env={**outside, **services}, stdout=self._log, stderr=self._log
        )
        self.functions = boto3.Session("a", "b", region_name="us-east-1").client("lambda", endpoint_url=self.url)
        eventually(self._is_up)

    def _is_up(self) -> bool:
        try:
            return bool(self.functions.list_functions())
        except Exception:  # noqa: BLE001 - whatever the client says while nobody listens
            return False

    def stop(self) -> None:
        self.functions.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._log.close()

    def deploy(self, environ: dict[str, str]) -> None:
        """The function, from this checkout."""
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("entry.py", "from processor.aws_lambda.handler import handler\n")
        self.functions.create_function(
            FunctionName="count",
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/count",
            Handler="entry.handler",
            Timeout=60,
            Code={"ZipFile": code.getvalue()},
            Environment={
                "Variables": {
                    **environ,
                    "PYTHONPATH": str(ROOT),
                    "AWS_ACCESS_KEY_ID": "a",
                    "AWS_SECRET_ACCESS_KEY": "b",
                }
            },
        )


def eventually(condition: Callable[[], bool], seconds: float = 40) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    log = tmp_path / "ministack.log"
    running = Cloud(log)
    yield running
    running.stop()
    print(log.read_text(errors="replace")[-3_000:])


def views(store: Store) -> int:
    quarter = quarter_of(system_clock())
    rows = store.read_totals("default", quarter - 2, quarter).rows
    return sum(item.measures.get("pageviews", 0) for _, item in rows)


def test_mapping_is_refused_then_set_right(cloud: Cloud) -> None:
    """With ParallelizationFactor 2 the function refuses, with nothing written; set to 1 it counts every event once."""
    environ = {"AWS_ENDPOINT_URL": cloud.url, "LIVEINSIGHT_STREAM": NAME, "LIVEINSIGHT_TABLE_PREFIX": NAME}
    settings = Settings.from_env(environ)
    initialise(settings)
    stream: Stream = open_stream(settings)
    store: Store = open_store(settings)
    cloud.deploy(environ)
    mapping = cloud.functions.create_event_source_mapping(
        FunctionName="count",
        EventSourceArn=STREAM_ARN,
        StartingPosition="TRIM_HORIZON",
        BatchSize=40,
        ParallelizationFactor=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )

    def put(first: int) -> None:
        now = system_clock()
        events = [an_event(at=now, visitor=n % 50, event_id=n, page=f"/{n}") for n in range(first, first + 200)]
        stream.put([OutRecord(partition_key(event.visitor), encode_record([event])) for event in events])

    def last_result() -> Any:
        return cloud.functions.get_event_source_mapping(UUID=mapping["UUID"])["LastProcessingResult"]

    put(1)
    eventually(lambda: last_result() == "FAILED")
    assert (views(store), store.load_checkpoints()) == (0, {})
    cloud.functions.update_event_source_mapping(UUID=mapping["UUID"], ParallelizationFactor=1)
    put(201)
    eventually(lambda: views(store) == 400)
    eventually(lambda: len(store.load_checkpoints()) == 2)
    assert {mark.incarnation for mark in store.read_watermarks().rows} == {stream.incarnation()}
    done = subprocess.run(
        [sys.executable, "-m", "liveinsight", "status"],
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LIVEINSIGHT_"))}, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert views(store) == 400
