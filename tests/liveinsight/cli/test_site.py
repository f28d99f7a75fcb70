"""`liveinsight site`: what operators can say, what they are told, and that nothing they say gets lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from liveinsight.__main__ import main
from liveinsight.bootstrap import initialise
from liveinsight.cli.site import MAX_KEYS
from liveinsight.model.errors import LiveInsightError
from liveinsight.settings import Settings
from liveinsight.sites.repository import MAX_BYTES, change_sites, create_missing, load_sites
from liveinsight.sites.site import Site, Sites, decode_sites, encode_sites
from liveinsight.storage.store import Document
from liveinsight.testing.builders import MemoryStore
from liveinsight.wiring import open_store

Say = Callable[..., str]
UTC = ZoneInfo("UTC")


@pytest.fixture
def say(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs the command on the in-memory store and gives what it prints; it must succeed."""
    monkeypatch.setattr("liveinsight.cli.site.open_store", lambda settings: store)

    def run(*arguments: str) -> str:
        assert main(["site", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_a_site_from_its_beginning_to_its_end(say: Say, store: MemoryStore) -> None:
    """Add, look, change one thing and leave the rest, empty a list, remove."""
    say("add", "shop", "--time-zone", "Europe/Berlin", "--origins", "https://shop.example", "https://*.shop.example")
    say("edit", "shop", "--session-gap", "15", "--excluded-paths", "/admin/**", "--path-groups", "/o/*=/o/:id")
    wanted = Site(
        name="shop", time_zone="Europe/Berlin", origins=("https://shop.example", "https://*.shop.example"),
        session_gap=15, excluded_paths=("/admin/**",), path_groups=(("/o/*", "/o/:id"),),
    )  # fmt: skip
    assert load_sites(store) == Sites(sites=(wanted,), default="shop")
    shown = say("show", "shop")
    assert all(
        text in shown for text in ("(the default site)", "Europe/Berlin", "15 minutes", "/o/*=/o/:id", "no limit")
    )
    say("edit", "shop", "--excluded-paths")
    assert load_sites(store).sites == (replace(wanted, excluded_paths=()),)
    told = json.loads(say("list", "--json"))
    assert [(site["site"], site["default"], site["do_not_track"]) for site in told] == [("shop", True, "anonymous")]
    assert told[0] == json.loads(say("show", "shop", "--json"))
    say("remove", "shop", "--yes")
    assert load_sites(store) == Sites(removed=("shop",))
    assert "no sites yet" in say("list")
    say("add", "shop")
    assert load_sites(store) == Sites(sites=(Site(name="shop"),), default="shop")


def test_the_default_site_is_the_first_until_told_otherwise(
    say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cannot be removed while there are others: payloads without a name would be lost."""
    say("add", "one")
    say("add", "two")
    assert load_sites(store).default == "one"
    assert main(["site", "remove", "one", "--yes"]) == 1
    assert "one is the default site" in capsys.readouterr().err
    say("edit", "two", "--default")
    say("remove", "one", "--yes")
    assert load_sites(store) == Sites(sites=(Site(name="two"),), default="two", removed=("one",))
    say("add", "three", "--default")
    assert [line.split()[:2] for line in say("list").splitlines()[1:]] == [["two", "UTC"], ["three", "default"]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "shop"], "there is a site shop already"),
        (["edit", "shop"], "nothing to change"),
        (["edit", "nowhere", "--session-gap", "5"], "no site 'nowhere': there are shop"),
        (["show", "no\x1b[31mwhere"], r"no site 'no\x1b[31mwhere'"),
        (["key", "revoke", "shop", "k1"], "site shop has no key k1"),
        (["key", "add", "shop", "--name", "x" * 101], "at most 100 characters"),
    ],
)
def test_what_cannot_be_done_says_why(
    say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """And changes nothing."""
    say("add", "shop")
    before = load_sites(store)
    assert main(["site", *arguments]) == 1
    assert told in capsys.readouterr().err
    assert load_sites(store) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "Shop"], "lower-case letters"),
        (["add", "a#b"], "lower-case letters"),
        (["add", "x" * 64], "lower-case letters"),
        (["add", "shop", "--time-zone", "Mars/Olympus"], "'--time-zone': 'Mars/Olympus' is no IANA time zone"),
        (["add", "shop", "--origins", "shop.example"], "'--origins': 'shop.example': use an origin"),
        (["add", "shop", "--do-not-track", "maybe"], "use one of off, anonymous, drop"),
        (["add", "shop", "--orgins", "x"], "No such option"),
        (["key", "add"], "Missing argument 'SITE'"),
    ],
)
def test_what_makes_no_sense_is_a_mistake_in_calling(
    say: Say, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """Exit code 2 and one line that says what to write."""
    assert main(["site", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_removing_wants_a_yes(say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, nothing is removed."""
    say("add", "shop")
    assert main(["site", "remove", "shop"]) == 2
    assert "stdin is not a terminal: confirm with --yes" in capsys.readouterr().err
    assert [site.name for site in load_sites(store).sites] == ["shop"]


def test_a_key_is_shown_once_and_never_stored(say: Say, store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed works; what is stored and shown later is of no use; revoked it works no more."""
    say("add", "shop")
    key = say("key", "add", "shop", "--name", "backend").strip()
    other = say("key", "add", "shop").strip()
    site = load_sites(store).sites[0]
    assert site.accepts_key(key)
    assert site.accepts_key(other)
    assert len(key) > 50
    assert key != other
    key_id = site.keys[0].id
    told = [
        say("key", "list", "shop"),
        say("key", "list", "shop", "--json"),
        say("show", "shop"),
        say("list", "--json"),
    ]
    assert all(key_id in text for text in (told[0], told[1], told[2], told[3]))
    for text in (*told, store.load_document("sites").text):
        assert key.rpartition("_")[2] not in text
    assert not any(site.keys[0].digest in text for text in told)
    say("key", "revoke", "shop", key_id)
    site = load_sites(store).sites[0]
    assert (site.accepts_key(key), site.accepts_key(other)) == (False, True)


def test_keys_of_a_site_are_few(say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them are compared for each request with a key."""
    say("add", "shop")
    for _ in range(MAX_KEYS):
        say("key", "add", "shop")
    assert main(["site", "key", "add", "shop"]) == 1
    assert "revoke one" in capsys.readouterr().err


def test_the_list_is_bounded(store: MemoryStore) -> None:
    """It stays far below what one item takes; what is too much is refused, and what there is stays."""
    text = "/" + "x" * 450
    site = Site(name="a", excluded_paths=tuple(f"{text}{number}" for number in range(200)))
    change_sites(store, lambda sites: replace(sites, sites=(site,)))
    with pytest.raises(LiveInsightError, match="larger than"):
        change_sites(store, lambda sites: replace(sites, sites=tuple(replace(site, name=f"s{n}") for n in range(10))))
    assert load_sites(store).sites == (site,)
    many = tuple(Site(name=f"site-number-{number}", time_zone="Europe/Berlin") for number in range(5_000))
    change_sites(store, lambda sites: Sites(sites=many))
    assert len(store.load_document("sites").text) < MAX_BYTES


def test_init_makes_sites_that_have_never_been(store: MemoryStore) -> None:
    """The first becomes the default one; what was changed or removed since is left alone."""
    assert create_missing(store, {"one": UTC, "two": ZoneInfo("Asia/Tokyo")}) == ["one", "two"]
    change_sites(store, lambda sites: sites.with_site(Site(name="one", time_zone="Europe/Berlin")))
    change_sites(store, lambda sites: replace(sites, sites=sites.sites[:1], removed=("two",)))
    assert create_missing(store, {"one": UTC, "two": UTC, "three": UTC}) == ["three"]
    assert load_sites(store) == Sites(
        sites=(Site(name="one", time_zone="Europe/Berlin"), Site(name="three")), default="one", removed=("two",)
    )
    assert create_missing(store, {"one": UTC}) == []


def test_two_operators_at_once_both_get_their_way(rng: random.Random) -> None:
    """Every change is worked out on what the other has left, whoever comes first."""

    class Crowded(MemoryStore):
        """Somebody else writes between reading and writing, now and then."""

        others = 30

        def load_document(self, name: str) -> Document:
            document = super().load_document(name)
            if self.others and rng.random() < 0.5:
                self.others -= 1
                sites = decode_sites(document.text) if document.version else Sites()
                theirs = replace(sites, sites=(*sites.sites, Site(name=f"other{self.others}")))
                assert self.save_document(name, Document(document.version + 1, encode_sites(theirs)))
            return document

    store = Crowded()
    for number in range(30):
        new = Site(name=f"mine{number}")
        change_sites(store, lambda sites, new=new: replace(sites, sites=(*sites.sites, new)))  # type: ignore[misc]
    came, store.others = store.others, 0
    names = {site.name for site in load_sites(store).sites}
    assert names == {f"mine{n}" for n in range(30)} | {f"other{n}" for n in range(came, 30)}
    assert came < 30


def test_on_dynamodb_many_operators_at_once(aws_environ: dict[str, str]) -> None:
    """Init makes the sites of the setting; four threads change things at once, and all of it is there."""
    settings = Settings.from_env({**aws_environ, "LIVEINSIGHT_SITES": "blog=Europe/Paris shop"})
    assert initialise(settings)[-2:] == [
        "site blog created with time zone Europe/Paris", "site shop created with time zone UTC",
    ]  # fmt: skip
    assert not any(line.startswith("site ") for line in initialise(settings))

    def add(name: str) -> None:
        change_sites(open_store(settings), lambda sites: replace(sites, sites=(*sites.sites, Site(name=name))))

    def operator(number: int) -> None:
        for turn in range(4):
            add(f"s{number}-{turn}")

    threads = [threading.Thread(target=operator, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {site.name for site in load_sites(open_store(settings)).sites}
    assert names == {"blog", "shop", *(f"s{number}-{turn}" for number in range(4) for turn in range(4))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "liveinsight", "site", *arguments]
        return subprocess.run(command, env={**os.environ, **aws_environ}, capture_output=True, text=True, check=False)

    added = run("edit", "blog", "--address-rate", "600")
    assert (added.returncode, "600 events a minute" in added.stdout) == (0, True)
    refused = run("show", "nowhere")
    assert (refused.returncode, refused.stderr.startswith("liveinsight site: no site 'nowhere'")) == (1, True)
