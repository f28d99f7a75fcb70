"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform


def describe_machine() -> str:
    """What the numbers were measured on."""
    return (
        f"{os.cpu_count()} cores, {platform.python_implementation()} {platform.python_version()}, {platform.machine()}"
    )
