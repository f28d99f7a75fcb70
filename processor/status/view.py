"""Shows a status: a screen for people, JSON for monitors.

In: a `StreamStatus`, and what takes the disk. Out: a table with a verdict under it, or plain values for JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from liveinsight.runtime.report_text import duration_text, time_text
from liveinsight.runtime.terminal_text import printable
from liveinsight.storage.backend import DiskUse
from liveinsight.storage.store import SHARD_END
from liveinsight.storage.stream import shard_tag
from processor.status.facts import DEAD_LETTERS_COUNTED
from processor.status.health import ShardStatus, State, StreamStatus

STYLES = {
    State.UP_TO_DATE: "green",
    State.WORKING: "green",
    State.CATCHING_UP: "yellow",
    State.WAITS_FOR_PARENT: "yellow",
    State.QUIET: "dim",
    State.DONE: "dim",
    State.STALLED: "bold red",
}
LITTLE_SPACE = 1 << 30
"""Free bytes below which the disk is nearly full: some days of a small site."""
_VERSION_DIGIT = "2"
_DIGITS = 47
_WRITE_SECOND = slice(29, 38)


def written_at(sequence_number: str, now: int) -> int | None:
    """When Kinesis wrote a record, epoch ms, from its sequence number; None if the number does not tell.

    This is undocumented: in the sequence numbers of AWS, nine hexadecimal digits are the second of the write. Local AWS
    stacks number differently.
    """
    digits = f"{int(sequence_number):x}" if sequence_number.isdigit() else ""
    if len(digits) != _DIGITS or digits[0] != _VERSION_DIGIT:
        return None
    second = int(digits[_WRITE_SECOND], 16)
    # Kinesis began in 2013.
    return second * 1000 if 1_356_998_400 <= second <= now // 1000 + 86_400 else None


def screen(status: StreamStatus, *, stream: str, generation: int, limit_ms: int, disk: DiskUse | None = None) -> Group:
    """The table, and the verdict under it."""
    table = Table(title=f"{printable(stream)}, generation {generation}, {time_text(status.at)}", title_justify="left")
    with_leases = any(shard.facts.lease for shard in status.shards)
    owner = ["owner", "renewed"] if with_leases else []
    for name in ("shard", "from", "into", "state", "lag", "last flush", "checkpoint", *owner):
        table.add_column(name, overflow="fold")
    for shard in status.shards:
        table.add_row(*_cells(shard, status, with_leases))
    return Group(table, *(Text(line, style) for line, style in _lines(status, disk, limit_ms)))


def _cells(shard: ShardStatus, status: StreamStatus, with_leases: bool) -> list[str | Text]:
    facts, now = shard.facts, status.at
    cells: list[str | Text] = [
        shard_tag(facts.shard_id),
        ", ".join(map(shard_tag, facts.parents)),
        ", ".join(map(shard_tag, facts.children)),
        Text(shard.state.value, STYLES[shard.state]),
        "-" if facts.ended else duration_text(shard.lag_ms),
        "never" if shard.last_flush is None else f"{duration_text(now - shard.last_flush)} ago",
        _checkpoint(facts.checkpoint, now),
    ]
    if with_leases:
        renewed = (
            f"over {duration_text(status.watched_ms)} ago"
            if shard.renewed is None
            else f"{duration_text(now - shard.renewed)} ago"
        )
        cells += [printable(facts.lease.owner) or "no owner", renewed] if facts.lease else ["no lease", ""]
    return cells


def _checkpoint(checkpoint: str, now: int) -> str:
    if not checkpoint:
        return "none"
    if checkpoint == SHARD_END:
        return "end of shard"
    at = written_at(checkpoint, now)
    moment = f"  ~{time_text(at)}" if at else ""
    return f"...{checkpoint[-16:]}{moment}" if len(checkpoint) > 20 else f"{checkpoint}{moment}"


def _lines(status: StreamStatus, disk: DiskUse | None, limit_ms: int) -> Iterator[tuple[str, str]]:
    """The lines under the table: (line, style)."""
    if disk:
        yield _disk_line(disk, status.at), "dim"
        if disk.free < LITTLE_SPACE:
            yield (
                f"nearly full: {decimal(disk.free)} free on the disk of {printable(disk.folder)}; when it is full, "
                "events are refused (503), and what was accepted waits",
                "bold red",
            )
    if status.dead_letters:
        more = " or more" if status.dead_letters >= DEAD_LETTERS_COUNTED else ""
        yield f"{status.dead_letters}{more} dead letters: `liveinsight dlq list`", "yellow"
    if status.lost:
        shards = ", ".join(map(shard_tag, status.lost))
        yield f"lost: the stream dropped shards that were not read to their end: {shards}", "bold red"
    quiet = [shard for shard in status.shards if shard.state is State.QUIET]
    if quiet:
        shards = ", ".join(shard_tag(shard.facts.shard_id) for shard in quiet)
        yield (
            f"shard {shards}: no backlog and no active worker: none runs, or Lambda is idle",
            "dim",
        )
    if status.stalled:
        shards = ", ".join(map(shard_tag, status.stalled))
        yield (
            f"UNHEALTHY: records wait, and nothing was flushed for {duration_text(limit_ms)} or longer: shard {shards}",
            "bold red",
        )
    else:
        yield "healthy", "green"


def _disk_line(disk: DiskUse, now: int) -> str:
    """Parts instead of the whole store, where they are known."""
    shown = [kind for kind in disk.bytes_ if kind != "store" or "counters" not in disk.bytes_]
    since = "" if disk.oldest_at is None else f" (since {duration_text(now - disk.oldest_at)})"
    parts = (f"{kind} {decimal(disk.bytes_[kind])}{since if kind == 'stream' else ''}" for kind in shown)
    return f"disk: {', '.join(parts)}; free {decimal(disk.free)}"


def as_json(status: StreamStatus, *, stream: str, generation: int, disk: DiskUse | None = None) -> dict[str, Any]:
    """The status as plain values. Times are epoch milliseconds; unknown values are null."""
    return {
        "checked_at": status.at,
        "watched_ms": status.watched_ms,
        "healthy": status.healthy,
        "stream": stream,
        "generation": generation,
        "dead_letters": status.dead_letters,
        "dead_letters_is_at_least": status.dead_letters >= DEAD_LETTERS_COUNTED,
        "lost_shards": list(status.lost),
        "disk": disk and _disk_json(disk),
        "shards": [_shard_json(shard, status.at) for shard in status.shards],
    }


def _disk_json(disk: DiskUse) -> dict[str, Any]:
    return {
        "folder": disk.folder,
        "free_bytes": disk.free,
        "nearly_full": disk.free < LITTLE_SPACE,
        "bytes": {kind.replace(" ", "_"): size for kind, size in disk.bytes_.items()},
        "oldest_record_at": disk.oldest_at,
    }


def _shard_json(shard: ShardStatus, now: int) -> dict[str, Any]:
    facts = shard.facts
    lease = facts.lease and {"owner": facts.lease.owner, "counter": facts.lease.counter, "renewed_at": shard.renewed}
    return {
        "shard": facts.shard_id,
        "parents": list(facts.parents),
        "children": list(facts.children),
        "closed": bool(facts.children) or facts.ended,
        "state": shard.state.value,
        "lag_ms": shard.lag_ms,
        "waiting_since": facts.backlog_since,
        "counted_up_to": facts.flushed_up_to,
        "last_flush": shard.last_flush,
        "checkpoint": facts.checkpoint or None,
        "checkpoint_written_at": written_at(facts.checkpoint, now),
        "lease": lease,
    }
