"""Exit codes of the worker on the Kinesis Client Library, and how a child's gets from its end to the launcher's.

The daemon ends with 1 whatever its child ended with. So each child leaves a note in the launcher's folder: it is
there while a shard is being processed, says the code if the child gives up, and is gone when everything was written.
Whoever finds notes after the daemon's end knows what was left undone. They are for people: nothing is lost without.
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
    DRAINED: "told to stop, and everything read was written and checkpointed",
    NOT_STARTED: "not started: a setting, Java or the library's jars are missing; the message says what to do",
    DAEMON_FAILED: "the Java daemon ended by itself; its last log lines say why",
    FLUSH_ABANDONED: "the tables took no writes for five minutes",
    TOO_MANY_DEAD_LETTERS: "too many records could not be decoded: a person must look (LIVEINSIGHT_DEAD_LETTER_LIMIT)",
    CRASHED: "an error nobody foresaw in a record processor; its log line has the traceback",
    PROTOCOL_BROKEN: "a record processor and the daemon did not understand each other",
    GENERATION_CHANGED: "`rebuild` chose another generation of counters: start it again to go on there",
    NOT_DRAINED: "told to stop, but not everything was written in time; the next start reads it again",
}

_RUNNING = "running"


class Note:
    """One child's note.

    Args:
        folder: the launcher's folder; without one nothing is noted.
        pid: whose note it is.
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
        """Everything is written, or somebody else has the shard."""
        if self._file:
            self._file.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        # The launcher may have gone, and its folder with it.
        if self._file and self._file.parent.is_dir():
            self._file.write_text(text)


def unfinished(folder: Path) -> bool:
    """Whether a child still has records in memory only."""
    return any(not note.isdigit() for note in _notes(folder))


def failure(folder: Path) -> int:
    """The exit code of a child that gave up; 0 when none did."""
    return min((int(note) for note in _notes(folder) if note.isdigit()), default=0)


def outcome(folder: Path, *, told_to_stop: bool, drained: bool, daemon_code: int) -> int:
    """The launcher's exit code.

    Args:
        folder: where the notes are.
        told_to_stop: whether the daemon ended because we asked it to.
        drained: whether since then there was a moment without anything unfinished.
        daemon_code: what it ended with; negative when a signal ended it.
    """
    if failed := failure(folder):
        return failed
    if not told_to_stop:
        return DRAINED if daemon_code == 0 else DAEMON_FAILED
    return DRAINED if drained or not unfinished(folder) else NOT_DRAINED


def _notes(folder: Path) -> list[str]:
    texts = []
    for note in folder.glob("*.note"):
        # A child may just be taking it away.
        with suppress(FileNotFoundError):
            texts.append(note.read_text())
    return texts
