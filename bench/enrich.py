"""What enrichment costs: microseconds a call for each of its steps, cold and warm, and for an event as a whole.

Run by hand: ``python -m bench.enrich``. Cold is the first sight of a text (every text differs), warm is the second; the
middle of several rounds is shown, of CPU time. Addresses are looked up anew each time: they are in no cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from ingest.enrichment.attribution import attribute
from ingest.enrichment.bot_signs import AUTOMATION
from ingest.enrichment.datacentres import DataCentres
from ingest.enrichment.geo import RegistryDatabase, open_geo_database
from ingest.enrichment.pages import parse_page, parse_referrer
from ingest.enrichment.user_agents import classify, is_bot
from ingest.pipeline.context import Context, Policy
from ingest.pipeline.payload import Payload
from ingest.pipeline.sender import RequestSenders
from ingest.pipeline.steps import make_event
from liveinsight.sites.site import plain_sites

NOW = 1_790_000_000_000
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.{}.0 Safari/537.36"
)
GROUPS = tuple((f"/g{number}/*", f"/g{number}/:id") for number in range(20))


def middle(rounds: int, batches: Callable[[int], Sequence[Callable[[], object]]]) -> float:
    """Microseconds a call: the median over rounds of the mean of one batch."""
    means = []
    for round_number in range(rounds):
        calls = batches(round_number)
        began = time.process_time_ns()
        for call in calls:
            call()
        means.append((time.process_time_ns() - began) / len(calls) / 1000)
    return statistics.median(means)


def cold_and_warm(name: str, one: Callable[[int], object], calls: int, rounds: int) -> str:
    """One line: calls that all differ, then calls that are all alike."""

    def different(round_number: int) -> list[Callable[[], object]]:
        first = round_number * calls
        return [lambda number=number: one(number) for number in range(first, first + calls)]  # type: ignore[misc]

    def alike(_: int) -> list[Callable[[], object]]:
        return [lambda: one(-1)] * (calls * 10)

    one(-1)
    return f"{name:44}{middle(rounds, different):10.2f}{middle(rounds, alike):10.2f}"


# Long: the table of steps, which share what is set up before it.
def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--calls", type=int, default=1000, help="different texts a round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--geo-db", default="", help="an MMDB file to look up addresses in, beside the built-in lists")
    given = options.parse_args()

    registry = RegistryDatabase()
    tables = DataCentres((4, (number * 40_000, number * 40_000 + 255)) for number in range(100_000))
    sites = plain_sites({"default": ZoneInfo("Europe/Berlin")})
    policy = Policy(geo=registry, data_centres=tables)

    def address(number: int) -> str:
        return f"{(number * 7919) % 223 + 1}.{number % 251}.{number % 241}.9"

    def event(number: int, user_agent: str = CHROME.format(0)) -> object:
        payload = Payload(
            event_type="page_view",
            id=str(number),
            timestamp=NOW,
            page_url=f"https://shop.example/a/{number}?utm_source=x",
            referrer=f"https://www.google.com/{number}",
            title="Some title",
        )
        context = Context(NOW, client_address=address(number), user_agent=user_agent, accept_language="de")
        return make_event(payload, context, RequestSenders(sites, policy), policy, lambda *_: b"salt" * 8)

    steps: list[tuple[str, Callable[[int], object]]] = [
        ("user agent", lambda n: classify(CHROME.format(n))),
        ("  of it: bot verdict, never cached", lambda n: is_bot(CHROME.format(n))),
        ("  of it: keywords of automation", lambda n: AUTOMATION.search(CHROME.format(n))),
        ("page", lambda n: parse_page(f"https://shop.example/a/{n}")),
        ("page, hard (encoded, dots, script)", lambda n: parse_page(f"https://Shop.example/%7e/./{n}/caf%c3%a9/<b>/")),
        (
            "page, 20 groups, two query fields",
            lambda n: parse_page(f"https://shop.example/{n}?a=1", ("a", "b"), GROUPS),
        ),
        ("page, 1,900 letters, never cached", lambda n: parse_page(f"https://shop.example/{n}/" + "%7e/" * 470)),
        ("referrer", lambda n: parse_referrer(f"https://www.google.com/{n}")),
        ("source and channel", lambda n: attribute("shop.example", f"utm_source=x{n}", "google.com")),
        ("country, registries' lists, never cached", lambda n: registry.place_of(address(n))),
        ("data centre, 100,000 ranges, never cached", lambda n: tables.holds(address(n))),
        ("an event of a known browser", event),
        ("an event, browser and all", lambda n: event(n, f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/{n}")),
    ]
    if given.geo_db:
        geo = open_geo_database(given.geo_db)
        assert geo is not None
        steps.insert(-2, ("country and region, MMDB, never cached", lambda n: geo.place_of(address(n))))
    print(f"{'us a call':44}{'cold':>10}{'warm':>10}")
    for name, one in steps:
        print(cold_and_warm(name, one, given.calls, given.rounds))


if __name__ == "__main__":
    main()
