"""From which day on a rebuilt generation may be shown: pure arithmetic on moments and site-local days.

In: what was replayed, and the sites' time zones. Out: a day, or why there is none. What arrived before the replay's
first record is counted in the older generation only, so a day must begin after it, and a visit must fit in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from liveinsight.model.buckets import MINUTE_MS, day_from_number, day_number, local_day_and_hour, local_midnight_ms
from liveinsight.model.errors import LiveInsightError
from liveinsight.runtime.report_text import time_text
from liveinsight.sites.site import Sites
from processor.rebuild.replay import Replay
from processor.verify.comparison import complete_from
from processor.verify.stream_reader import Coverage


def longest_gap_ms(sites: Sites) -> int:
    """How long a visitor may be silent, at most, without the visit's end."""
    return sites.longest_gap * MINUTE_MS


def known_from(replay: Replay, sites: Sites, now: int) -> int:
    """From when on counters of live traffic are whole: a visit that began before the first record cannot be."""
    moment = complete_from(Coverage(replay.first_arrival, now), longest_gap_ms(sites))
    assert moment is not None
    return moment


def first_whole_day(moment: int, zones: Iterable[ZoneInfo]) -> date:
    """The first local day that begins at `moment` or later in every zone."""
    return max(_first_day_from(moment, zone) for zone in zones)


def _first_day_from(moment: int, zone: ZoneInfo) -> date:
    day = day_from_number(local_day_and_hour(moment, zone)[0])
    return day if local_midnight_ms(day, zone) >= moment else day + timedelta(days=1)


def choose_cutover_day(replay: Replay, sites: Sites, now: int, wanted: date | None, *, force: bool = False) -> int:
    """The day (yyyymmdd) from which a rebuilt generation may hold.

    Raises:
        LiveInsightError: there is none, or the one that is wanted would show too little.
    """
    zones = [site.zone for site in sites.sites] or [ZoneInfo("UTC")]
    today = min(day_from_number(local_day_and_hour(now, zone)[0]) for zone in zones)
    whole = first_whole_day(known_from(replay, sites, now), zones)
    if wanted and wanted > today:
        raise LiveInsightError(f"{wanted} has not begun everywhere: the worker would count where nobody looks")
    if wanted and (replay.since is None or wanted >= whole or force):
        return day_number(wanted)
    if wanted:
        raise LiveInsightError(
            f"the stream held only what arrived since {time_text(replay.first_arrival)}, so {wanted} is not whole in "
            f"the new generation: take --from-day {whole} or later, or --force to show it as it is"
        )
    if whole <= today:
        return day_number(whole)
    if force:
        return day_number(today)
    hint = (
        "The stream has dropped nothing since then: if nothing was counted before, "
        "--from-day with the day of the oldest event is right"
        if replay.since is None
        else "--force switches with what there is of today"
    )
    raise LiveInsightError(
        f"no day is whole in the new generation yet: it holds what arrived since {time_text(replay.first_arrival)}. "
        f"Let `liveinsight rebuild start` follow until {whole} has begun. {hint}"
    )
