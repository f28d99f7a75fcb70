"""Starts the Java daemon, passes signals to it, and reports how it ended. A supervisor restarts it.

In: settings and changes to the properties of the daemon. Out: an exit code (`exit_codes`). Promises: the daemon does
not outlive the launcher. A stop takes at most the daemon's grace and `KILL_AFTER`. After a drain the exit code is 0.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from liveinsight.aws.clients import dynamodb_client, endpoint_of, is_local
from liveinsight.aws.kcl_tables import give_up_leadership
from liveinsight.model.errors import LiveInsightError, SettingsError
from liveinsight.runtime.metrics import FOLDER_VARIABLE, WorkerMetrics
from liveinsight.runtime.retry import answer_or, retry_until
from liveinsight.settings import Settings
from liveinsight.storage.generation_pointer import FIRST, load_pointer
from liveinsight.wiring import open_generations, serve_metrics
from processor.kcl.exit_codes import DRAINED, GENERATION_CHANGED, MEANINGS, failure, outcome, unfinished
from processor.kcl.java import daemon_command, find_jars, find_java
from processor.kcl.properties import daemon_properties, grace_seconds, logback_text, properties_text

logger = logging.getLogger(__name__)

KILL_AFTER = 15.0
"""Seconds beyond the grace of the daemon."""
LEAVE_WITHIN = 6.0
"""Seconds in which the daemon may end once everything is written."""
TICK_SECONDS = 0.2
LOOK_SECONDS = 5.0
"""How often to check for another active generation."""
_PR_SET_PDEATHSIG = 1
_LIBC: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


class Stop:
    """Whether a signal has asked for a stop."""

    def __init__(self) -> None:
        self.told = False

    def __call__(self, *_: object) -> None:
        self.told = True


def run(settings: Settings, changes: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the daemon until it ends. Returns the exit code.

    Raises:
        LiveInsightError: it was not started; the message says what to do.
    """
    java, jars = find_java(environ), find_jars()
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    stores = open_generations(settings)

    def newest() -> int:
        return load_pointer(stores(FIRST)).newest

    generation = retry_until(lambda: stop.told, newest, LiveInsightError, sleep=time.sleep)
    if generation is None:
        return DRAINED
    with tempfile.TemporaryDirectory(prefix="liveinsight-kcl-") as name:
        folder = Path(name)
        worker_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        properties = daemon_properties(
            settings,
            command=child_command(Path(sys.executable), generation, folder),
            worker_id=worker_id,
            generation=generation,
            kinesis_endpoint=endpoint_of(settings, "kinesis"),
            dynamodb_endpoint=endpoint_of(settings, "dynamodb"),
            changes=changes,
        )
        within = grace_seconds(properties) + KILL_AFTER
        environment = child_environment(environ, Path(sys.executable), local=_is_local(settings))
        environment[FOLDER_VARIABLE] = _serve_metrics(settings, folder)
        daemon = _start(daemon_command(java, jars, *_write_files(settings, properties, folder)), environment)
        application = properties["applicationName"]
        names = {"worker": worker_id, "application": application}
        logger.info("daemon begins", extra={"action": "begin", "pid": daemon.pid, **names})
        changed = _watch(daemon, folder, stop, lambda: answer_or(generation, newest, LiveInsightError) != generation)
        told = stop.told or changed
        drained = _end(daemon, folder, within)
        daemon_code = daemon.wait()
        code = outcome(folder, told_to_stop=told, drained=drained, daemon_code=daemon_code)
        give_up_leadership(dynamodb_client(settings), application, worker_id)
    return _report(GENERATION_CHANGED if changed and code == DRAINED else code, daemon_code)


def _is_local(settings: Settings) -> bool:
    return all(is_local(endpoint_of(settings, service)) for service in ("kinesis", "dynamodb"))


def _serve_metrics(settings: Settings, folder: Path) -> str:
    """Serve the sums of the children's metrics; returns the folder that the children share."""
    shared = folder / "metrics"
    shared.mkdir()
    serve_metrics(settings, WorkerMetrics(shared))
    return str(shared)


def _write_files(settings: Settings, properties: Mapping[str, str], folder: Path) -> tuple[Path, Path]:
    files = folder / "kcl.properties", folder / "logback.xml"
    files[0].write_text(properties_text(properties), encoding="ascii")
    files[1].write_text(logback_text(settings.log_level), encoding="utf-8")
    return files


def _report(code: int, daemon_code: int) -> int:
    level = logging.INFO if code in {DRAINED, GENERATION_CHANGED} else logging.ERROR
    extra = {"action": "end", "daemon_code": daemon_code, "exit_code": code, "meaning": MEANINGS[code]}
    logger.log(level, "daemon ends", extra=extra)
    return code


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        # Ctrl-C at the terminal is for the launcher, which then drains the daemon.
        start_new_session=True,
        # Runs between fork and exec, so it is only one system call, resolved beforehand.
        preexec_fn=_end_with_the_launcher if _LIBC else None,  # noqa: PLW1509
    )


def child_command(python: Path, generation: int, folder: Path) -> str:
    """The command that the daemon runs for each shard. It is split at spaces, so Python is found by name in the path.

    Raises:
        SettingsError: the folder for temporary files has a space in its name.
    """
    if " " in f"{python.name}{folder}":
        raise SettingsError(f"{folder}: the daemon cannot use a path with a space; set TMPDIR to one without")
    return f"{python.name} -m processor.kcl.child --generation {generation} --notes {folder}"


def child_environment(environ: Mapping[str, str], python: Path, *, local: bool) -> dict[str, str]:
    """The environment of the daemon and its children: this Python first, and any credentials for a local AWS stack."""
    environment = dict(environ)
    environment["PATH"] = os.pathsep.join([str(python.parent), environ.get("PATH", os.defpath)])
    if local and not environ.get("AWS_ACCESS_KEY_ID") and not environ.get("AWS_PROFILE"):
        # A local AWS stack needs a signature and accepts any.
        environment |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "local")
    return environment


def _watch(daemon: subprocess.Popen[bytes], folder: Path, stop: Stop, changed: Callable[[], bool]) -> bool:
    """Wait until the daemon or a child ends, a stop is asked for, or (True) another generation is active."""
    waited = 0.0
    while daemon.poll() is None and not stop.told and not failure(folder):
        time.sleep(TICK_SECONDS)
        waited += TICK_SECONDS
        if waited >= LOOK_SECONDS:
            waited = 0.0
            if changed():
                return True
    return False


def _end(daemon: subprocess.Popen[bytes], folder: Path, within: float) -> bool:
    """Let the daemon drain, then kill it if it does not end. Returns whether everything was written.

    The daemon may not end although everything is written: it waits for a shard whose child has given up, or for shards
    that ended long ago, and takes the leases again that it has just dropped. A kill loses nothing at any time.
    """
    if daemon.poll() is None:
        daemon.terminate()
    give_up_at = time.monotonic() + within
    drained_at = 0.0
    while daemon.poll() is None:
        now = time.monotonic()
        waiting = unfinished(folder)
        if not waiting and not drained_at:
            drained_at = now
        if now >= give_up_at or (drained_at and (waiting or now >= drained_at + LEAVE_WITHIN)):
            # After a drain this is its usual end: it would only wait for the rest of its grace period.
            level = logging.INFO if drained_at else logging.WARNING
            logger.log(level, "the daemon does not end: killed", extra={"action": "kill", "drained": bool(drained_at)})
            os.killpg(daemon.pid, signal.SIGKILL)
            break
        time.sleep(TICK_SECONDS)
    return bool(drained_at)


def _end_with_the_launcher() -> None:
    """Let the kernel signal the daemon to drain when the launcher is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, 15)
