"""Exit codes of the worker on the Kinesis Client Library, and how the launcher learns those of its children.

The daemon ends with 1, whatever its child ended with. So each child keeps a note in the folder of the launcher: it
exists while a shard is being processed, holds the exit code if the child gives up, and is deleted when everything is
written. Counting does not depend on notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

DRAINED = 0
NOT_STARTED = 1
DAEMON_FAILED = 70
FLUSH_ABANDONED = 71
TOO_MANY_DEAD_LETTERS = 72
CRASHED = 73
PROTOCOL_BROKEN = 74
GENERATION_CHANGED = 75
NOT_DRAINED = 76

MEANINGS: Mapping[int, str] = {
    DRAINED: "stopped, and everything that was read is written and checkpointed",
    NOT_STARTED: "not started: a setting, Java or the library's jars are missing; the message says what to do",
    DAEMON_FAILED: "the Java daemon ended by itself; its last log lines say why",
    FLUSH_ABANDONED: "the tables accepted no writes for five minutes",
    TOO_MANY_DEAD_LETTERS: "too many undecodable records: operator action required (LIVEINSIGHT_DEAD_LETTER_LIMIT)",
    CRASHED: "unexpected error in a record processor; its log line has the traceback",
    PROTOCOL_BROKEN: "protocol error between a record processor and the daemon",
    GENERATION_CHANGED: "`rebuild` has switched to another generation: start the worker again to write to it",
    NOT_DRAINED: "stopped, but not everything was written in time; the next start reads it again",
}

_RUNNING = "running"


class Note:
    """The note of one child.

    Args:
        folder: the folder of the launcher; None: no notes.
        pid: the process id of the child.
    """

    def __init__(self, folder: Path | None, pid: int) -> None:
        self._file = folder / f"{pid}.note" if folder else None

    def begun(self) -> None:
        """Records may be in memory only from now on."""
        self._write(_RUNNING)

    def failed(self, code: int) -> None:
        """The child gives up."""
        self._write(str(code))

    def done(self) -> None:
        """Everything is written, or another worker has the shard."""
        if self._file:
            self._file.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        # The launcher may have ended and deleted its folder.
        if self._file and self._file.parent.is_dir():
            self._file.write_text(text)


def unfinished(folder: Path) -> bool:
    """Whether a child may have records that are not written."""
    return any(not note.isdigit() for note in _notes(folder))


def failure(folder: Path) -> int:
    """The exit code of a child that gave up; 0 if none did."""
    return min((int(note) for note in _notes(folder) if note.isdigit()), default=0)


def outcome(folder: Path, *, told_to_stop: bool, drained: bool, daemon_code: int) -> int:
    """The launcher's exit code.

    Args:
        folder: the folder of the notes.
        told_to_stop: whether the daemon was asked to end.
        drained: whether since then there was a moment with nothing unfinished.
        daemon_code: the exit code of the daemon; negative after a signal.
    """
    if failed := failure(folder):
        return failed
    if not told_to_stop:
        return DRAINED if daemon_code == 0 else DAEMON_FAILED
    return DRAINED if drained or not unfinished(folder) else NOT_DRAINED


def _notes(folder: Path) -> list[str]:
    texts = []
    for note in folder.glob("*.note"):
        # A child may be deleting it at this moment.
        with suppress(FileNotFoundError):
            texts.append(note.read_text())
    return texts
