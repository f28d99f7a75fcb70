"""The cutover day: the first site-local day that is read from a rebuilt generation.

In: what was replayed, and the time zones of the sites. Out: a day, or why there is none. Arrivals before the first
record of the replay are counted in the older generation only. So the day must begin at least a visit's gap after it.
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
    """The longest gap within a visit."""
    return sites.longest_gap * MINUTE_MS


def known_from(replay: Replay, sites: Sites, now: int) -> int:
    """The time from which counters of live traffic are complete: a visit must begin after the first record."""
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
    """The cutover day (yyyymmdd) of a rebuilt generation.

    Raises:
        LiveInsightError: there is none, or the wanted day is not complete.
    """
    zones = [site.zone for site in sites.sites] or [ZoneInfo("UTC")]
    today = min(day_from_number(local_day_and_hour(now, zone)[0]) for zone in zones)
    whole = first_whole_day(known_from(replay, sites, now), zones)
    if wanted and wanted > today:
        raise LiveInsightError(f"{wanted} has not begun in all time zones: new counters would not be shown")
    if wanted and (replay.since is None or wanted >= whole or force):
        return day_number(wanted)
    if wanted:
        raise LiveInsightError(
            f"the stream held only arrivals since {time_text(replay.first_arrival)}, so {wanted} is incomplete in the "
            f"new generation: use --from-day {whole} or later, or --force to show it nevertheless"
        )
    if whole <= today:
        return day_number(whole)
    if force:
        return day_number(today)
    hint = (
        "The stream has dropped nothing since then: if nothing was counted before, "
        "use --from-day with the day of the oldest event"
        if replay.since is None
        else "--force switches to an incomplete today"
    )
    raise LiveInsightError(
        f"no day is complete in the new generation yet: it holds arrivals since {time_text(replay.first_arrival)}. "
        f"Let `liveinsight rebuild start` run until {whole} has begun. {hint}"
    )
