"""Sessions: which events belong together, decided by the times in the events alone.

One `VisitorState` is stored per site and visitor. It holds the visitor's open sessions (several when
several tabs give ids of their own), the event ids seen lately, and the mark of the last event folded in.
No clock, timer or expiry decides anything here, so a replay comes to the same result.

    gap      stands in each event, 30 minutes if a site sets no other; more than that between two events starts
             a new visit
    lateness an event may arrive late or out of order: it joins the session whose [start - gap, last + gap]
             holds it, and moves that session's start back if it is the earliest. The one exception: an event
             that lies between two sessions joins the later one; the two are not merged afterwards.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from liveinsight.counting.compression import compress, decompress
from liveinsight.counting.rollups import NOT_INTERACTIVE, Measures, event_measures, unpack_rows, visit_rows
from liveinsight.model.buckets import MINUTE_MS, quarter_of
from liveinsight.model.events import DEFAULT_GAP_MINUTES, PAGE_EXIT, PAGE_VIEW, Event
from liveinsight.model.ids import own_session_id
from liveinsight.model.marks import NO_MARK

SESSION_GAP_MS = DEFAULT_GAP_MINUTES * MINUTE_MS
"""The default gap."""
PRESENCE_MS = 5 * MINUTE_MS
"""How long after its last event another open tab keeps a visitor present."""
MAX_SESSIONS = 8
"""Sessions kept per visitor; the least recently active one is dropped first."""
MAX_RECENT_IDS = 64
"""Event ids remembered per visitor: the window in which a repeated event is recognised."""


class Session(msgspec.Struct, array_like=True, gc=False):
    """One visit. Treat it as a value: `VisitorState.apply` puts a changed copy in its place.

    `day` and `hour` are the site-local ones of `started_at`. `measures` sums the visit's events. `rows` are the
    dimensions that its first event decides, with their values (see `rollups.visit_rows`).
    """

    id: str
    given_id: bool
    started_at: int
    last_at: int
    day: int
    hour: int
    rows: bytes
    measures: Measures
    interactions: int = 0
    entry_page: str = ""
    entry_at: int = 0
    exit_page: str = ""
    exit_at: int = 0
    current_page: str = ""
    current_at: int = 0
    title: str = ""
    user_id: str = ""
    left: bool = False

    @property
    def attributes(self) -> dict[str, str]:
        """Values of the dimensions that the visit's first event decides."""
        return dict(unpack_rows(self.rows))

    @property
    def quarter(self) -> int:
        """The 15-minute bucket that the visit is booked in."""
        return quarter_of(self.started_at)

    @property
    def duration_ms(self) -> int:
        """First to last event."""
        return self.last_at - self.started_at

    @property
    def bounced(self) -> bool:
        """Whether it is one page view and no interaction."""
        return self.interactions == 0 and self.measures.get("pageviews", 0) == 1

    def outcome(self, sign: int) -> Measures:
        """The measures of the visit as a whole, times `sign`; all others are booked event by event."""
        outcome = {"visits": sign}
        if self.bounced:
            outcome["bounces"] = sign
        if self.duration_ms:
            outcome["duration_ms"] = sign * self.duration_ms
        return outcome

    def whole(self, sign: int) -> Measures:
        """The outcome and the sums of the visit's events, times `sign`."""
        whole = self.outcome(sign)
        for name, amount in self.measures.items():
            whole[name] = sign * amount
        return whole


class VisitChange(msgspec.Struct, gc=False):
    """How one event changes a visit: the session `before` (None if the event begins it) and `after`, and the event's
    own measures."""

    before: Session | None
    after: Session
    added: Measures

    def outcome_difference(self) -> Measures:
        """The change of the visit's outcome; empty if it begins with this event."""
        before, after = self.before, self.after
        difference: Measures = {}
        if before is None:
            return difference
        if bounces := after.bounced - before.bounced:
            difference["bounces"] = bounces
        if duration := after.duration_ms - before.duration_ms:
            difference["duration_ms"] = duration
        return difference

    def changes(self) -> Measures:
        """The change of the outcome, and the event's measures."""
        return {**self.outcome_difference(), **self.added}


class VisitorState(msgspec.Struct, array_like=True, gc=False):
    """The stored state of one visitor of one site.

    `seen_at` is the time of the latest live event. While the visitor is present, `last_minute` is the live minute it
    is counted in and `live` the names it is counted under; after leaving they are 0 and empty.

    The fold does not change the rest: `tail` has the events of the timelines that are in no chunk yet (see
    `timeline.pack_waiting`); `spilled` is the mark of the last one that is; `listed` names the sessions with chunks.
    """

    site: str
    visitor: int
    mark: str = NO_MARK
    sessions: list[Session] = []
    recent_ids: list[int] = []
    last_minute: int = 0
    received_at: int = 0
    seen_at: int = 0
    live: tuple[str, ...] = ()
    tail: list[msgspec.Raw] = []
    spilled: str = NO_MARK
    listed: list[str] = []

    def remember(self, event_id: int) -> bool:
        """Remember an event id; False if it was known already."""
        recent = self.recent_ids
        if event_id in recent:
            return False
        recent.append(event_id)
        if len(recent) > MAX_RECENT_IDS:
            del recent[0]
        return True

    def apply(self, event: Event) -> VisitChange:
        """Add `event` to its session, or begin a new one."""
        added = event_measures(event)
        sessions = self.sessions
        index = _find(sessions, event)
        if index < 0:
            started = _start(event, added)
            if len(sessions) >= MAX_SESSIONS:
                del sessions[min(range(len(sessions)), key=lambda i: sessions[i].last_at)]
            sessions.append(started)
            return VisitChange(None, started, added)
        before = sessions[index]
        after = sessions[index] = _extend(before, event, added)
        return VisitChange(before, after, added)

    def has_left(self, session: Session) -> bool:
        """Whether the visitor left `session`, the one just active, and has no other session open."""
        horizon = session.last_at - PRESENCE_MS
        return session.left and all(
            other.left or other.last_at < horizon for other in self.sessions if other is not session
        )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(VisitorState)


def pack_visitor(state: VisitorState) -> bytes:
    """A state as bytes: a quarter of the object's memory."""
    return _encoder.encode(state)


def unpack_visitor(data: bytes) -> VisitorState:
    """Inverse of `pack_visitor`."""
    return _decoder.decode(data)


def encode_visitor(state: VisitorState) -> bytes:
    """Stored form of a visitor's state: packed and compressed."""
    return compress(pack_visitor(state))


def decode_visitor(data: bytes) -> VisitorState:
    """Inverse of `encode_visitor`."""
    return unpack_visitor(decompress(data))


def new_visitor(site: str, visitor: int) -> VisitorState:
    """The state of a visitor that was never seen."""
    return VisitorState(site, visitor, sessions=[], recent_ids=[])


def _find(sessions: list[Session], event: Event) -> int:
    at = event.occurred_at
    given = event.session_id
    gap = event.gap_minutes * MINUTE_MS
    for index in range(len(sessions) - 1, -1, -1):
        session = sessions[index]
        if session.started_at - gap <= at <= session.last_at + gap and (
            session.id == given if given else not session.given_id
        ):
            return index
    return -1


def _start(event: Event, measures: Measures) -> Session:
    at = event.occurred_at
    viewed = event.type == PAGE_VIEW
    return Session(
        id=event.session_id or own_session_id(event.visitor, at),
        given_id=bool(event.session_id),
        started_at=at,
        last_at=at,
        day=event.day,
        hour=event.hour,
        rows=visit_rows(event),
        measures=measures,
        interactions=0 if event.type in NOT_INTERACTIVE else 1,
        entry_page=event.page if viewed else "",
        entry_at=at if viewed else 0,
        exit_page=event.page if viewed else "",
        exit_at=at if viewed else 0,
        current_page=event.page_url,
        current_at=at,
        title=event.title,
        user_id=event.user_id,
        left=event.type == PAGE_EXIT,
    )


def _extend(session: Session, event: Event, added: Measures) -> Session:
    at = event.occurred_at
    after = replace(session)
    after.measures = measures = dict(session.measures)
    for name, amount in added.items():
        measures[name] = measures.get(name, 0) + amount
    if event.type not in NOT_INTERACTIVE:
        after.interactions += 1
    if event.type == PAGE_VIEW:
        if not session.exit_at or at < session.entry_at:
            after.entry_page, after.entry_at = event.page, at
        if at >= session.exit_at:
            after.exit_page, after.exit_at = event.page, at
    if at < session.started_at:
        after.started_at, after.day, after.hour = at, event.day, event.hour
        after.rows = visit_rows(event)
    if at >= session.last_at:
        after.last_at = at
        after.left = event.type == PAGE_EXIT
    if event.page_url and at >= session.current_at:
        # Other events may lack the title: keep that of the page view.
        if event.title or event.page_url != session.current_page:
            after.title = event.title
        after.current_page, after.current_at = event.page_url, at
    if event.user_id and not session.user_id:
        after.user_id = event.user_id
    return after
