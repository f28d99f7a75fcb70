"""Reports about sites: text for operators, plain data for JSON. Neither contains the hash of a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from liveinsight.runtime.terminal_text import printable
from liveinsight.sites.rules import FIELDS
from liveinsight.sites.site import ApiKey, Site, Sites

_NONE = "(none)"


def sites_table(sites: Sites) -> str:
    """One line per site."""
    if not sites.sites:
        return "no sites yet: add one with `liveinsight site add NAME`"
    rows = [("site", "", "time zone", "origins", "keys")]
    for site in sites.sites:
        mark = "default" if site.name == sites.default else ""
        rows.append((site.name, mark, site.time_zone, _short(site.origins), str(len(site.keys))))
    return _aligned(rows)


def keys_table(keys: Sequence[ApiKey]) -> str:
    """One line per key."""
    if not keys:
        return "no keys yet: create one with `liveinsight site key add SITE`"
    rows = [("id", "created", "name")]
    for key in keys:
        created = datetime.fromtimestamp(key.created_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        rows.append((key.id, created, printable(key.name)))
    return _aligned(rows)


def described(site: Site, *, default: bool) -> str:
    """All fields of a site, one a line."""
    rows = [("site", site.name + (" (the default site)" if default else ""))]
    rows += [(field.name.replace("_", " "), _shown(field.name, getattr(site, field.name))) for field in FIELDS]
    rows.append(("keys", ", ".join(key.id for key in site.keys) or _NONE))
    return _aligned(rows)


def site_json(site: Site, *, default: bool) -> dict[str, Any]:
    """A site as plain data."""
    fields = {field.name: _plain(getattr(site, field.name)) for field in FIELDS}
    keys = [{"id": key.id, "name": key.name, "created_at": key.created_at} for key in site.keys]
    return {"site": site.name, "default": default, **fields, "keys": keys}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _shown(name: str, value: Any) -> str:
    if name.endswith("_rate"):
        return f"{value:,} events a minute" if value else "no limit"
    if name == "session_gap":
        return f"{value} minutes"
    if name == "path_groups":
        return ", ".join(f"{glob}={path}" for glob, path in value) or _NONE
    if isinstance(value, tuple):
        return printable(", ".join(value)) or _NONE
    return str(value)


def _short(values: Sequence[str], most: int = 2) -> str:
    rest = f" and {len(values) - most} more" if len(values) > most else ""
    return (", ".join(values[:most]) or _NONE) + rest


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
