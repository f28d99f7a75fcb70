"""`liveinsight site`: the sites that are measured, and what each of them wants.

    add, edit, remove   change the list; ingest and the API see it within seconds
    list, show          what there is
    key                 API keys for events from servers

What is typed becomes values in `liveinsight.sites.rules`, changes are made in `liveinsight.sites.repository`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from liveinsight.cli.site_report import described, keys_table, site_json, sites_table
from liveinsight.model.clock import Clock, system_clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.terminal_text import json_text, printable
from liveinsight.settings import Settings
from liveinsight.sites.repository import change_sites, load_sites
from liveinsight.sites.rules import FIELDS, site_name
from liveinsight.sites.site import ApiKey, Site, Sites, key_digest
from liveinsight.storage.store import DocumentStore
from liveinsight.wiring import open_store

MAX_KEYS = 20
"""Of one site: every one of them is compared when an event comes with a key."""
_LONGEST_KEY_NAME = 100


def build_parser() -> argparse.ArgumentParser:
    """The command line of `liveinsight site`."""
    parser = argparse.ArgumentParser(
        prog="liveinsight site",
        description="The sites that are measured: whose pages may send events, in which time zone their days begin, "
        "what is left out, and how much is taken. Every running ingest and API sees a change within seconds.",
        epilog="Example: liveinsight site add shop --time-zone Europe/Berlin --origins https://shop.example.com "
        "'https://*.shop.example.com' --excluded-paths '/admin/**'. Two operators may change things at once: "
        "each option replaces its own field only.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    adder = _action(actions, "add", "a new site", "Add a site. Its name is what pages give as data-site.")
    editor = _action(
        actions,
        "edit",
        "change a site",
        "Change what is given and leave the rest. An option that takes several values replaces all of them; without "
        "any it empties the list. A new time zone or session gap holds for events from then on.",
    )
    for changer in (adder, editor):
        changer.add_argument("site", metavar="NAME", type=_typed(site_name))
        for field in FIELDS:
            changer.add_argument(
                field.option, dest=field.name, metavar=field.metavar, nargs="*" if field.many else None,
                help=field.meaning,
            )  # fmt: skip
        changer.add_argument("--default", action="store_true", help="make it the site of payloads that name none")
    remover = _action(
        actions,
        "remove",
        "stop taking events for a site",
        "Remove a site: its events are refused, and the API does not know it any more. What was counted stays stored, "
        "and is there again when the site is added again.",
    )
    remover.add_argument("site", metavar="NAME")
    remover.add_argument("--yes", action="store_true", help="do not ask")
    lister = _action(actions, "list", "all sites", "List the sites.")
    shower = _action(actions, "show", "all about one site", "Show everything about one site, except its keys' secrets.")
    shower.add_argument("site", metavar="NAME")
    for teller in (lister, shower):
        teller.add_argument("--json", action="store_true", help="as JSON")
    keys = "With an API key, a server may send events with its own times, visitors and addresses."
    _add_key_actions(_action(actions, "key", "API keys for events from servers", keys))
    return parser


def _action(actions: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=description)
    return parser


def _add_key_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="key_action", required=True, metavar="ACTION")
    adder = _action(actions, "add", "a new key", "Make a key and show it once: only its hash is kept.")
    adder.add_argument("--name", default="", help="what it is for")
    lister = _action(actions, "list", "what keys there are", "List the keys of a site, without their secrets.")
    revoker = _action(actions, "revoke", "a key that holds no longer", "Revoke a key: within seconds it is refused.")
    for user in (adder, lister, revoker):
        user.add_argument("site", metavar="SITE")
    lister.add_argument("--json", action="store_true", help="as JSON")
    revoker.add_argument("id", metavar="ID", help="the key's id, as `list` shows it")


def _typed(read: Callable[[str], str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def main(arguments: list[str]) -> int:
    """Entry point: exit code 0, 1 when it cannot be done, 2 when it was asked for in a wrong way."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    changes: dict[str, Any] = {}
    for field in FIELDS:
        given = getattr(options, field.name, None)
        if given is not None:
            try:
                changes[field.name] = field.read(given)
            except ValueError as error:
                parser.error(f"argument {field.option}: {error}")
    store = open_store(Settings.from_env(os.environ))
    return run(store, options, changes, system_clock)


def run(store: DocumentStore, options: argparse.Namespace, changes: dict[str, Any], clock: Clock) -> int:
    """Do what the command line says.

    Raises:
        LiveInsightError: it cannot be done; the message says why.
    """
    match options.action:
        case "add":
            return _add(store, options, changes)
        case "edit":
            return _edit(store, options, changes)
        case "remove":
            return _remove(store, options)
        case "list":
            sites = load_sites(store)
            if options.json:
                _say(json_text([site_json(site, default=site.name == sites.default) for site in sites.sites]))
            else:
                _say(sites_table(sites))
        case "show":
            sites = load_sites(store)
            site = _known(sites, options.site)
            default = site.name == sites.default
            _say(json_text(site_json(site, default=default)) if options.json else described(site, default=default))
        case _:
            return _keys(store, options, clock)
    return 0


def _add(store: DocumentStore, options: argparse.Namespace, changes: dict[str, Any]) -> int:
    def change(sites: Sites) -> Sites:
        if options.site in sites.by_name:
            raise LiveInsightError(f"there is a site {options.site} already: change it with `liveinsight site edit`")
        return replace(
            sites,
            sites=(*sites.sites, Site(name=options.site, **changes)),
            default=options.site if options.default or not sites.default else sites.default,
            removed=tuple(name for name in sites.removed if name != options.site),
        )

    _say_changed(change_sites(store, change), options.site, "added")
    return 0


def _edit(store: DocumentStore, options: argparse.Namespace, changes: dict[str, Any]) -> int:
    if not changes and not options.default:
        raise LiveInsightError("nothing to change: see `liveinsight site edit --help`")

    def change(sites: Sites) -> Sites:
        edited = sites.with_site(replace(_known(sites, options.site), **changes))
        return replace(edited, default=options.site) if options.default else edited

    _say_changed(change_sites(store, change), options.site, "changed")
    return 0


def _remove(store: DocumentStore, options: argparse.Namespace) -> int:
    _known(load_sites(store), options.site)
    if not options.yes:
        if not sys.stdin.isatty():
            sys.stderr.write("liveinsight site: nobody is here to confirm that the site may go: add --yes\n")
            return 2
        sys.stdout.write(f"Refuse all events for {options.site} from now on, and forget its keys? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            _say("nothing removed")
            return 2

    def change(sites: Sites) -> Sites:
        _known(sites, options.site)
        if sites.default == options.site and len(sites.sites) > 1:
            raise LiveInsightError(
                f"{options.site} is the default site: make another one the default first, "
                "with `liveinsight site edit NAME --default`"
            )
        kept = tuple(site for site in sites.sites if site.name != options.site)
        default = "" if sites.default == options.site else sites.default
        return replace(sites, sites=kept, default=default, removed=(*sites.removed, options.site))

    change_sites(store, change)
    _say(f"site {options.site} is removed; what was counted for it stays stored")
    return 0


def _keys(store: DocumentStore, options: argparse.Namespace, clock: Clock) -> int:
    if options.key_action == "add":
        return _add_key(store, options, clock)
    if options.key_action == "list":
        keys = _known(load_sites(store), options.site).keys
        if options.json:
            _say(json_text([{"id": key.id, "name": key.name, "created_at": key.created_at} for key in keys]))
        else:
            _say(keys_table(keys))
        return 0

    def change(sites: Sites) -> Sites:
        site = _known(sites, options.site)
        kept = tuple(key for key in site.keys if key.id != options.id)
        if len(kept) == len(site.keys):
            raise LiveInsightError(f"site {site.name} has no key {printable(options.id)}")
        return sites.with_site(replace(site, keys=kept))

    change_sites(store, change)
    _say(f"key {options.id} of site {options.site} is revoked: refused within seconds")
    return 0


def _add_key(store: DocumentStore, options: argparse.Namespace, clock: Clock) -> int:
    if len(options.name) > _LONGEST_KEY_NAME:
        raise LiveInsightError(f"a key's name has at most {_LONGEST_KEY_NAME} characters")
    key_id = secrets.token_hex(4)
    # The prefix lets secret scanners find keys that went into a repository.
    key = f"livekey_{key_id}_{secrets.token_urlsafe(32)}"
    made = ApiKey(key_id, options.name, key_digest(key), clock())

    def change(sites: Sites) -> Sites:
        site = _known(sites, options.site)
        if len(site.keys) >= MAX_KEYS:
            raise LiveInsightError(f"site {site.name} has {MAX_KEYS} keys: revoke one that is not used any more")
        return sites.with_site(replace(site, keys=(*site.keys, made)))

    change_sites(store, change)
    sys.stderr.write(
        f"key {key_id} of site {options.site}; it holds within seconds, and this is the only time it is shown:\n"
    )
    _say(key)
    return 0


def _known(sites: Sites, name: str) -> Site:
    site = sites.by_name.get(name)
    if site is None:
        hint = f"there are {', '.join(list(sites.by_name)[:10])}" if sites.sites else "there are none yet"
        raise LiveInsightError(f"no site {name!r}: {hint}; see `liveinsight site list`")
    return site


def _say_changed(sites: Sites, name: str, what: str) -> None:
    sys.stderr.write(f"site {name} is {what}; it holds within seconds\n")
    _say(described(sites.by_name[name], default=name == sites.default))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
