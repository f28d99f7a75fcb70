"""Runs a program that ends with its parent: ``python tied.py <parent's pid> <command>...``

In: the pid of the parent, and a command. Out: the command takes this process's place. On Linux the kernel sends it
SIGTERM when its parent dies, however that happens; elsewhere it stays. It is run as a file, without our packages and
without those that are installed, so that it takes a hundredth of a second.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
"""Of prctl(2). The signal is sent when the thread dies that has started the program."""


def tied(command: Sequence[str]) -> list[str]:
    """The command that runs `command` tied to this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    """Become the command."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            # It died before it was asked for.
            raise SystemExit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
