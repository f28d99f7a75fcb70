"""The lock of a data folder: one holder, a note about it, nothing left of it but the note of one that was killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.folder_lock import held, holder_of

NOW = 1_700_000_000_000


def test_one_holder(tmp_path: Path) -> None:
    """The second is told who holds it, and others can read what the holder tells; afterwards it is free."""
    path = tmp_path / "data" / "lock"
    assert holder_of(path) is None
    with held(path, "liveinsight up", NOW) as lock:
        lock.tell({"LIVEINSIGHT_BACKEND": "sqlite"})
        says = rf"in use by `liveinsight up` \(process {os.getpid()}, since 2023-"
        with pytest.raises(LiveInsightError, match=says), held(path, "liveinsight up", NOW):
            raise AssertionError("two holders")
        holder = holder_of(path)
        assert holder is not None
        assert (holder.pid, holder.environ) == (os.getpid(), {"LIVEINSIGHT_BACKEND": "sqlite"})
    assert holder_of(path) is None
    with held(path, "liveinsight up", NOW) as again:
        assert again.killed is None


def test_holder_that_fails_was_not_killed(tmp_path: Path) -> None:
    """What ends with an error leaves no note: the next holder need not wait for what a killed one has left."""
    path = tmp_path / "lock"
    with pytest.raises(LiveInsightError, match="port is taken"), held(path, "liveinsight up", NOW):
        raise LiveInsightError("the port is taken")
    with held(path, "liveinsight up", NOW) as lock:
        assert lock.killed is None


def test_lock_ends_with_its_holder_not_with_its_children(tmp_path: Path) -> None:
    """When the holder is killed the lock is free, although a child of it lives on; the next one learns who it was."""
    path = tmp_path / "lock"
    script = (
        "import os, pathlib, subprocess, sys; from liveinsight.runtime.folder_lock import held\n"
        f"with held(pathlib.Path({str(path)!r}), 'liveinsight up', {NOW}):\n"
        "    child = subprocess.Popen(['sleep', '60'], stdout=2)\n"
        "    print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    child = int(done.stdout)
    try:
        assert holder_of(path) is None
        with held(path, "liveinsight up", NOW) as lock:
            assert lock.killed is not None
            assert lock.killed.command == "liveinsight up"
    finally:
        os.kill(child, 9)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The message names the setting."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "lock"
    with pytest.raises(LiveInsightError, match="set LIVEINSIGHT_DATA_DIR"), held(path, "liveinsight up", NOW):
        raise AssertionError("held")


def test_lock_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for the note there is no lock, and the message says why."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    path = tmp_path / "lock"
    with pytest.raises(LiveInsightError, match="No space left on device: free some"), held(path, "worker", NOW):
        raise AssertionError("it has the lock")
    assert holder_of(path) is None
