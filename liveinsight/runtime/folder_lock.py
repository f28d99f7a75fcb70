"""Who uses a data folder: a lock that its holder loses when it ends, however it ends.

In: the lock's file, and a note about the holder. Out: the lock, or the note of the one who has it. The lock is `flock`
on an open file. The note is the file's content; one in a file whose lock is free is of a holder that was killed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.retry import retry

DATA_LOCK = "lock"
"""Name of the lock file of who owns a data folder."""
WORKER_LOCK = "worker.lock"
"""And of the worker on it."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    command: str
    pid: int
    since: int
    """Epoch ms."""
    environ: dict[str, str] = {}
    """Variables with which other programs use what the holder runs."""

    @property
    def text(self) -> str:
        """For people."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since / 1000))
        return f"`{self.command}` (process {self.pid}, since {since})"


@contextmanager
def held(path: Path, command: str, now: int) -> Iterator[HeldLock]:
    """The lock, until the end of the block. It says who held it before, and was killed.

    Args:
        path: of the file; its folder is made.
        command: the holder's, for people.
        now: epoch ms.

    Raises:
        LiveInsightError: somebody else has it, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not inherited by children: they must not keep the lock of a parent that was killed.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LiveInsightError(f"{path}: {error.strerror}: set LIVEINSIGHT_DATA_DIR to a folder of yours") from error
    try:
        try:
            # Who only looks at the lock has it for a moment.
            retry(lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB), BlockingIOError, attempts=5, sleep=_shortly)
        except BlockingIOError:
            other = _read(path)
            by = other.text if other else "another process"
            raise LiveInsightError(
                f"{path.parent} is in use by {by}: stop that first, or set LIVEINSIGHT_DATA_DIR to another folder"
            ) from None
        lock = HeldLock(file, Holder(command, os.getpid(), now), _read(path))
        try:
            lock.tell({})
        except OSError as error:
            raise LiveInsightError(f"{path}: {error.strerror}: free some space on the disk") from error
        try:
            yield lock
        finally:
            # It may be read-only by now.
            with suppress(OSError):
                os.ftruncate(file, 0)
    finally:
        os.close(file)


def _shortly(_: float) -> None:
    time.sleep(0.02)


class HeldLock:
    """A lock that this process has."""

    def __init__(self, file: int, holder: Holder, killed: Holder | None) -> None:
        self._file = file
        self._holder = holder
        self.killed = killed
        """Who had it last, if that did not end by itself."""

    def tell(self, environ: Mapping[str, str]) -> None:
        """Note the variables with which other programs use what this process runs."""
        note = msgspec.json.encode(msgspec.structs.replace(self._holder, environ=dict(environ)))
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, note, 0)


def holder_of(path: Path) -> Holder | None:
    """Who has a lock; None if nobody has."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    finally:
        os.close(file)
    return None


def _read(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
