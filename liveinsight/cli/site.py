"""`liveinsight site`: the measured sites, their rules, and their API keys.

In: the command line, whose values `liveinsight.sites.rules` reads. Out: changes made by `liveinsight.sites.repository`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any

import click
from msgspec.structs import replace

from liveinsight.cli.site_report import described, keys_table, site_json, sites_table
from liveinsight.model.clock import system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.command_line import ListCommand, Parsed, confirm, json_option, yes_option
from liveinsight.runtime.terminal_text import json_text, printable
from liveinsight.settings import Settings
from liveinsight.sites.repository import change_sites, load_sites
from liveinsight.sites.rules import FIELDS, site_name
from liveinsight.sites.site import ApiKey, Site, Sites, key_digest
from liveinsight.storage.store import DocumentStore
from liveinsight.wiring import open_store

MAX_KEYS = 20
"""Per site: every key is compared when an event comes with one."""
_LONGEST_KEY_NAME = 100
_FIELDS = {field.name: field for field in FIELDS}


def _read_field(context: click.Context, option: click.Parameter, given: str | tuple[str, ...] | None) -> Any:
    field = _FIELDS[option.name or ""]
    if given is None or given == ():
        return None
    try:
        return field.read(given if isinstance(given, str) else [value for value in given if value])
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _fields(function: Callable[..., None]) -> Callable[..., None]:
    """Adds an option for each field of a site."""
    for field in reversed(FIELDS):
        metavar = f"[{field.metavar}...]" if field.many else field.metavar
        function = click.option(
            field.option, field.name, metavar=metavar, multiple=field.many, help=field.meaning, callback=_read_field
        )(function)
    return function


_name = click.argument("name", type=Parsed(site_name))
_default_option = click.option("--default", is_flag=True, help="make it the site of events that name no site")


@click.group()
def command() -> None:
    """Manage the measured sites: whose pages may send events, time zones, exclusions and limits.

    Every running ingest and API process notices a change within seconds. Two operators may work at the same time: each
    option replaces only its own field.

    \b
    Examples:
      liveinsight site add shop --time-zone Europe/Berlin \\
        --origins https://shop.example.com 'https://*.shop.example.com'
      liveinsight site edit shop --excluded-paths '/admin/**' --session-gap 15
      liveinsight site key add shop --name backend
    """


@command.command(cls=ListCommand)
@_name
@_fields
@_default_option
def add(name: str, *, default: bool, **fields: Any) -> None:
    """Add a site. Pages give its NAME as data-site."""

    def change(sites: Sites) -> Sites:
        if name in sites.by_name:
            raise LiveInsightError(f"there is a site {name} already: change it with `liveinsight site edit`")
        return replace(
            sites,
            sites=(*sites.sites, Site(name=name, **_given(fields))),
            default=name if default or not sites.default else sites.default,
            removed=tuple(removed for removed in sites.removed if removed != name),
        )

    _say_changed(change_sites(_store(), change), name, "added")


@command.command(cls=ListCommand)
@_name
@_fields
@_default_option
def edit(name: str, *, default: bool, **fields: Any) -> None:
    """Change the given fields of a site and keep the others.

    An option that takes several values replaces all of them; without a value it empties the list. A new time zone or
    session gap applies to events from then on.
    """
    changes = _given(fields)
    if not changes and not default:
        raise LiveInsightError("nothing to change: see `liveinsight site edit --help`")

    def change(sites: Sites) -> Sites:
        edited = sites.with_site(replace(_known(sites, name), **changes))
        return replace(edited, default=name) if default else edited

    _say_changed(change_sites(_store(), change), name, "changed")


@command.command()
@click.argument("name")
@yes_option
def remove(name: str, *, yes: bool) -> None:
    """Remove a site: its events are refused, and the API does not know it any more.

    Its counters stay stored. They are shown again when the site is added again.
    """
    store = _store()
    _known(load_sites(store), name)
    confirm(f"Refuse all events for {name} from now on, and forget its keys?", yes=yes)

    def change(sites: Sites) -> Sites:
        _known(sites, name)
        if sites.default == name and len(sites.sites) > 1:
            raise LiveInsightError(
                f"{name} is the default site: make another one the default first, "
                "with `liveinsight site edit NAME --default`"
            )
        kept = tuple(site for site in sites.sites if site.name != name)
        default = "" if sites.default == name else sites.default
        return replace(sites, sites=kept, default=default, removed=(*sites.removed, name))

    change_sites(store, change)
    click.echo(f"site {name} is removed; its counters stay stored")


@command.command("list")
@json_option
def list_sites(*, as_json: bool) -> None:
    """List the sites."""
    sites = load_sites(_store())
    if as_json:
        click.echo(json_text([site_json(site, default=site.name == sites.default) for site in sites.sites]))
    else:
        click.echo(sites_table(sites))


@command.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show everything about a site, except the secrets of its keys."""
    sites = load_sites(_store())
    site = _known(sites, name)
    default = site.name == sites.default
    click.echo(json_text(site_json(site, default=default)) if as_json else described(site, default=default))


@command.group()
def key() -> None:
    """Manage API keys. With a key a server may send events with its own times, visitors and addresses."""


@key.command("add")
@click.argument("site")
@click.option("--name", default="", help="purpose of the key")
def add_key(site: str, name: str) -> None:
    """Create a key and show it once: only its hash is stored."""
    if len(name) > _LONGEST_KEY_NAME:
        raise LiveInsightError(f"a key's name has at most {_LONGEST_KEY_NAME} characters")
    key_id = secrets.token_hex(4)
    # The prefix lets secret scanners find keys that went into a repository.
    secret = f"livekey_{key_id}_{secrets.token_urlsafe(32)}"
    made = ApiKey(key_id, name, key_digest(secret), system_clock())

    def change(sites: Sites) -> Sites:
        known = _known(sites, site)
        if len(known.keys) >= MAX_KEYS:
            raise LiveInsightError(f"site {site} has {MAX_KEYS} keys: revoke one that is not used any more")
        return sites.with_site(replace(known, keys=(*known.keys, made)))

    change_sites(_store(), change)
    click.echo(
        f"key {key_id} of site {site}; it works within seconds, and this is the only time it is shown:", err=True
    )
    click.echo(secret)


@key.command("list")
@click.argument("site")
@json_option
def list_keys(site: str, *, as_json: bool) -> None:
    """List the keys of a site, without their secrets."""
    keys = _known(load_sites(_store()), site).keys
    if as_json:
        click.echo(json_text([{"id": key.id, "name": key.name, "created_at": key.created_at} for key in keys]))
    else:
        click.echo(keys_table(keys))


@key.command()
@click.argument("site")
@click.argument("key_id", metavar="ID")
def revoke(site: str, key_id: str) -> None:
    """Revoke the key with the ID that `list` shows: it is refused within seconds."""

    def change(sites: Sites) -> Sites:
        known = _known(sites, site)
        kept = tuple(key for key in known.keys if key.id != key_id)
        if len(kept) == len(known.keys):
            raise LiveInsightError(f"site {site} has no key {printable(key_id)}")
        return sites.with_site(replace(known, keys=kept))

    change_sites(_store(), change)
    click.echo(f"key {key_id} of site {site} is revoked: refused within seconds")


def _store() -> DocumentStore:
    return open_store(Settings.from_env(os.environ))


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _known(sites: Sites, name: str) -> Site:
    site = sites.by_name.get(name)
    if site is None:
        hint = f"there are {', '.join(list(sites.by_name)[:10])}" if sites.sites else "there are none yet"
        raise LiveInsightError(f"no site {name!r}: {hint}; see `liveinsight site list`")
    return site


def _say_changed(sites: Sites, name: str, what: str) -> None:
    click.echo(f"site {name} is {what}; it takes effect within seconds", err=True)
    click.echo(described(sites.by_name[name], default=name == sites.default))
