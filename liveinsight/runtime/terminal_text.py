"""What may be shown on a terminal: data from outside can hold anything, control characters among it.

In: text or bytes of unknown content. Out: text that moves no cursor, sets no colour and rings no bell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

BYTES_PER_LINE = 16


def printable(text: str) -> str:
    """`text` with everything that is not printable as an escape, such as ``\\x1b``."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def json_text(value: object, *, indent: int | None = 2) -> str:
    """JSON in printable ASCII."""
    # `json` escapes all control characters but one.
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def hex_dump(data: bytes) -> Iterator[str]:
    """Lines of offset, hexadecimal bytes, and the ASCII characters among them."""
    for start in range(0, len(data), BYTES_PER_LINE):
        line = data[start : start + BYTES_PER_LINE]
        characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{start:08x}  {line.hex(' '):<{3 * BYTES_PER_LINE - 1}}  |{characters}|"
