"""The copy of one backend's counts to another: prepared, copied, compared, finished.

    prepare   the target's tables, sites and salts; its pointer says that a copy is unfinished
    drained   has the source counted everything?
    copy      page by page: moved, written, noted in the target (`state`)
    compare   every item, and the number of items
    finish    the target's pointer becomes the source's

Promises: killed between any two calls and begun again, it continues and doubles nothing, as a page that is written
twice is the same. A target that holds anything else is refused. The source is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from liveinsight.copying.comparison import Comparison, compare
from liveinsight.copying.drained import reached, uncounted
from liveinsight.copying.moved import moved, moved_letter
from liveinsight.copying.side import Side
from liveinsight.copying.state import CopyState, StateDocument
from liveinsight.copying.tally import Tally, alive
from liveinsight.model.buckets import quarter_of, utc_day_of_quarter
from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError
from liveinsight.model.marks import FIRST_STREAM_MS
from liveinsight.runtime.retry import Sleep
from liveinsight.sites.repository import load_sites, replace_sites
from liveinsight.storage.backend import Backend
from liveinsight.storage.generation_pointer import FIRST, Pointer, load_any_pointer, load_pointer, save_pointer

MARGIN_SECONDS = 3600
"""Items that expire sooner are copied, but not compared: either side may delete them meanwhile."""
DAY_MS = 86_400_000
WORKER_MS = 60_000
"""A worker publishes watermarks every few seconds, also one that has nothing to count."""

Progress = Callable[[int], object]
"""Called with the number of items that were read."""


class Copier:
    """One copy, step by step.

    Args:
        source: what is copied. Its worker may run, its ingest must end before `copy`.
        target: an empty backend, or one with an unfinished copy of `source`. Nothing may count there.
        clock: current time.
        sleep: waits between attempts.
        say: is told what happens.
    """

    def __init__(
        self,
        source: Backend,
        target: Backend,
        clock: Clock,
        *,
        sleep: Sleep,
        say: Callable[[str], object],
    ) -> None:
        self._from = Side(source, clock, sleep)
        self._to = Side(target, clock, sleep)
        self._stream = source.stream()
        self._clock = clock
        self._sleep = sleep
        self._say = say

    def inventory(self) -> Tally:
        """What there is to move. Reads everything, changes nothing."""
        now, tally = self._seconds(), Tally()
        for generation in self._generations():
            for item in self._from.everything(generation):
                if alive(item, now):
                    tally.add(item)
        return tally

    def uncounted(self) -> list[str]:
        """The shards of the source's stream with records that are not counted yet."""
        return self._from.patiently(uncounted, self._stream, self._reached(), self._sleep)

    def finished_at(self) -> int:
        """When the target's copy of this source was verified; 0 if it was not, or there is none.

        Raises:
            LiveInsightError: the target holds counts of its own or of another source, or the source has counted more
                since the copy.
        """
        self._tell(self._to.backend.create())
        self._document = StateDocument(self._to.first)
        state, incarnation = self._document.state, self._stream.incarnation()
        if state is None:
            watched = self._check_unused()
            self._document.begin(CopyState(source=incarnation, place=self._from.backend.place, watched=watched))
            return 0
        if state.source != incarnation:
            raise LiveInsightError(
                f"{self._to.backend.place} holds a copy of another source ({state.place}): take other tables "
                "(LIVEINSIGHT_TABLE_PREFIX) or another folder (LIVEINSIGHT_DATA_DIR)"
            )
        if state.verified_at:
            self._release(state)
            if state.reached != self._reached():
                raise LiveInsightError(
                    f"{self._to.backend.place} has a finished copy of this source and may have counted on; what "
                    f"{self._from.backend.place} has counted since then is not in it"
                )
        return state.verified_at

    def prepare(self) -> None:
        """Make the target ready for ingest: sites and salts. Its workers wait until the copy is finished.

        Raises:
            LiveInsightError: the target has sites that the source does not know, or a stream with a wrong time.
        """
        if self._to.backend.stream().incarnation() < FIRST_STREAM_MS:
            raise LiveInsightError(
                f"the stream of {self._to.backend.place} was made by a clock before 2001: correct it, and make another"
            )
        assert self._document.state is not None
        if not self._document.state.prepared:
            first = self._to.first
            pointer, version = load_any_pointer(first)
            if not pointer.copy_unfinished:
                save_pointer(first, Pointer(changed_at=self._clock(), copy_unfinished=True), version)
            replace_sites(first, load_sites(self._from.first))
            self._document.change(prepared=True)
        self.copy_salts()

    def copy_salts(self) -> None:
        """Copy the salts of the days in use. A salt that the target has already stays: its ingest uses it."""
        today = self._clock() // DAY_MS
        days = [utc_day_of_quarter(quarter_of(day * DAY_MS)) for day in range(today - 2, today + 2)]
        for day, salt, expires_at in self._from.backend.items(FIRST).salts(days):
            if self._to.first.salt_of_day(day, salt, expires_at) != salt:
                self._say(f"the target has a salt of its own for {day}: visitors without an id are new there that day")

    def copy(self, progress: Progress) -> None:
        """Copy all items, from where an earlier attempt has ended.

        Raises:
            LiveInsightError: the source has not counted everything, or another copy runs.
        """
        if shards := self.uncounted():
            raise LiveInsightError(
                f"not everything is counted yet ({', '.join(shards)}): stop ingest, let the worker count the rest "
                "(at most a minute), then try again; or wait with --wait"
            )
        self._check_alone()
        state = self._state_to_continue()
        progress(state.items)
        for generation in self._generations():
            if generation != FIRST:
                self._tell(self._to.backend.create_generation(generation))
            for page in self._from.pages(generation, state.positions.get(generation, "")):
                now = self._seconds()
                self._to.put(generation, [part for item in page.items if alive(item, now) for part in moved(item)])
                positions = {**state.positions, generation: page.position}
                state = self._document.change(positions=positions, items=state.items + len(page.items))
                progress(state.items)
            for letter in self._from.letters(generation):
                if alive(letter, self._seconds()):
                    self._to.put_letters(generation, [moved_letter(letter)])

    def _state_to_continue(self) -> CopyState:
        active, points = load_pointer(self._from.first).active, self._reached()
        state = self._document.state
        assert state is not None
        if (state.active, state.reached) != (active, points):
            if state.positions:
                self._say("the source has counted more since the last attempt: everything is copied anew")
            return self._document.change(active=active, reached=points, positions={}, items=0)
        if state.positions:
            self._say(f"an unfinished copy was found: it continues behind the first {state.items:,} items")
        return state

    def compare(self, progress: Progress) -> Comparison:
        """Read both sides and compare every item."""
        soon = self._seconds() + MARGIN_SECONDS
        return compare(self._from, self._to, self._generations(), soon, progress)

    def finish(self, found: Comparison) -> bool:
        """Let the target count on, if both sides are equal and the source has not counted more; returns whether.

        Raises:
            LiveInsightError: a worker of the target has counted meanwhile.
        """
        self._check_alone()
        state = self._document.state
        assert state is not None
        changed = bool(self.uncounted()) or state.reached != self._reached()
        if changed:
            self._say("the source has got more events meanwhile: stop its ingest, then start the copy again")
        if changed or not found.equal:
            # The next attempt copies everything anew.
            self._document.change(positions={}, items=0)
            return False
        self._release(self._document.change(verified_at=self._clock()))
        return True

    def _release(self, state: CopyState) -> None:
        """Replace the pointer of an unfinished copy."""
        first = self._to.first
        pointer, version = load_any_pointer(first)
        if pointer.copy_unfinished:
            save_pointer(first, Pointer(state.active, (), self._clock()), version)

    def _check_unused(self) -> dict[str, int]:
        """Check that the target is empty and that no worker runs there; returns its watermarks from before the check.

        A worker that runs already counts for some seconds before it learns of the copy.
        """
        watched = self._watermarks()
        for generation in {FIRST, *self._to.backend.later_generations()}:
            if any(self._to.everything(generation)):
                raise LiveInsightError(
                    f"{self._to.backend.place} holds counts that are not a copy of {self._from.backend.place}: take "
                    "other tables (LIVEINSIGHT_TABLE_PREFIX) or another folder (LIVEINSIGHT_DATA_DIR)"
                )
        if max(watched.values(), default=0) > self._clock() - WORKER_MS:
            raise LiveInsightError(
                f"a worker runs on {self._to.backend.place}: stop it, and try again in a minute. It may be started "
                "as soon as sites and salts are copied: it then waits for the end of the copy"
            )
        return watched

    def _check_alone(self) -> None:
        """Check that nothing has counted on the target since the copy began: a page would be written over it."""
        assert self._document.state is not None
        if self._watermarks() != self._document.state.watched:
            raise LiveInsightError(
                f"a worker has run on {self._to.backend.place} since the copy began, and may have counted: stop it, "
                "and copy to other tables (LIVEINSIGHT_TABLE_PREFIX) or another folder (LIVEINSIGHT_DATA_DIR)"
            )

    def _watermarks(self) -> dict[str, int]:
        """The latest time in the target's watermark of each shard."""
        rows = self._to.first.read_watermarks().rows
        return {mark.shard_id: max(mark.as_of, mark.fresh_as_of, mark.preview_as_of) for mark in rows}

    def _generations(self) -> list[int]:
        return sorted(load_pointer(self._from.first).generations)

    def _reached(self) -> dict[str, str]:
        newest = load_pointer(self._from.first).newest
        return self._from.patiently(reached, self._from.backend, self._stream, newest)

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line)

    def _seconds(self) -> int:
        return self._clock() // 1000
