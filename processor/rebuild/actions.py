"""The commands of `liveinsight rebuild`, each a method.

In: settings. Out: tables, the pointer, lines on standard output. Promises: of what is in use, only the pointer is
written. It changes last, or first if tables are deleted. A refusal says what to do instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache

from rich.console import Console
from rich.progress import track

from liveinsight.copying.state import copied_at
from liveinsight.model.buckets import day_from_number
from liveinsight.model.clock import Clock
from liveinsight.model.errors import LiveInsightError, StreamUnavailable
from liveinsight.runtime.command_line import confirm
from liveinsight.runtime.report_text import duration_text, time_text
from liveinsight.runtime.retry import Answer, retry
from liveinsight.settings import Settings
from liveinsight.sites.repository import load_sites
from liveinsight.storage.generation_pointer import (
    FIRST,
    Active,
    Pointer,
    forgotten,
    load_pointer,
    load_versioned_pointer,
    save_pointer,
    switched,
    switched_back,
)
from liveinsight.storage.generation_reader import GenerationalReader
from liveinsight.storage.store import Store
from liveinsight.storage.watermarks import freshest_possible
from liveinsight.wiring import open_backend
from processor.rebuild.cutover_day import choose_cutover_day
from processor.rebuild.diff import SiteDay, compare_generations, scope_of
from processor.rebuild.replay import PacedStream, begin_replay, counted_until, load_replay, paused_too_long
from processor.rebuild.report import DiffReport, show_json, show_text
from processor.rebuild.run import RebuildRun
from processor.verify.settled import WaitLimits, wait_for_watermarks

LAG_MS = 180_000
"""The largest lag of a generation that may be switched to."""
ATTEMPTS = 5


class Rebuild:
    """The commands. Each returns an exit code, or raises `LiveInsightError` to refuse."""

    def __init__(self, settings: Settings, clock: Clock, console: Console) -> None:
        self._settings = settings
        self._clock = clock
        self._console = console
        self._backend = open_backend(settings)
        self._stream = self._backend.stream()
        self._stores = cache(self._backend.store)
        self._first = self._stores(FIRST)

    def start(self, *, until_caught_up: bool, reads_per_second: float) -> int:
        """Fill the newest generation that is not active, or a new one, until a signal or the switch."""
        pointer, _ = load_versioned_pointer(self._first)
        generation = self._built(pointer)
        if generation is None:
            generation = pointer.newest + 1
            self._say(f"generation {generation} begins")
        for line in self._backend.create_generation(generation):
            self._say(line)
        store = self._stores(generation)
        copied = copied_at(self._first)
        replay = self._retry(lambda: begin_replay(self._stream, store, self._clock(), copied=copied))
        following = RebuildRun(
            self._settings,
            PacedStream(self._stream, 1 / reads_per_second),
            store,
            replay,
            self._clock,
            generation=generation,
            console=self._console,
            switched=lambda: load_pointer(self._first).newest == generation,
        )
        return following.run(until_caught_up=until_caught_up)

    def diff(self, *, as_json: bool) -> int:
        """Compare the current generation with the one that is built, or after a switch with the former one."""
        pointer, _ = load_versioned_pointer(self._first)
        generation, shown = self._built(pointer), pointer
        if generation is None:
            if not pointer.history:
                raise LiveInsightError("there is only one generation: run `liveinsight rebuild start`")
            generation, shown = pointer.newest, Pointer(pointer.history[-1])
        new, now = self._stores(generation), self._clock()
        sites = load_sites(self._first)
        old = GenerationalReader(self._stores, lambda: shown, lambda: sites.zones, self._clock)
        replay, reached = load_replay(new), self._reached(new)
        until = min(freshest_possible(old.read_watermarks().rows) or 0, reached or 0)
        scope = scope_of(replay, sites, new.counted_days(), until, now)
        found = compare_generations(old, new, scope, lambda: self._wait_for((old, new), now), self._tracked)
        notes = [
            f"generation {generation} has replayed all arrivals since {time_text(replay.first_arrival)}; compared are "
            f"buckets and days that ended before {time_text(scope.settled_before)}"
        ]
        if now - until > LAG_MS:
            notes.append(f"one of the two has counted nothing since {time_text(until)}: later times are not compared")
        if scope.left_out:
            notes.append(f"{scope.left_out:,} days left out: they began before the replay")
        if found.unsettled:
            notes.append(f"{found.unsettled:,} differences left out: they changed between two reads")
        report = DiffReport(generation, found, notes)
        (show_json if as_json else show_text)(report)
        return report.exit_code

    def switch(self, cutover_day: date | None, *, force: bool) -> int:
        """Switch to the generation that was built, from a day on."""
        pointer, version = load_versioned_pointer(self._first)
        generation = self._built(pointer)
        if generation is None:
            raise LiveInsightError("there is no generation to switch to: run `liveinsight rebuild start`")
        store, now = self._stores(generation), self._clock()
        replay, reached = load_replay(store), self._reached(store)
        if not force and (reached is None or now - reached > LAG_MS):
            lag = "has not read all shards yet" if reached is None else f"lags by {duration_text(now - reached)}"
            raise LiveInsightError(
                f"generation {generation} {lag}: let `liveinsight rebuild start` run until it has caught up"
            )
        day = choose_cutover_day(replay, load_sites(self._first), now, cutover_day, force=force)
        save_pointer(self._first, switched(pointer, generation, day, now), version)
        self._say(
            f"generation {generation} is used from {day_from_number(day)} on; the worker and the API follow within "
            "seconds. `liveinsight rebuild rollback` undoes the switch"
        )
        return 0

    def rollback(self, *, force: bool) -> int:
        """Undo the last switch."""
        pointer, version = load_versioned_pointer(self._first)
        now = self._clock()
        before = switched_back(pointer, now)
        existing = {FIRST, *self._backend.later_generations()}
        if missing := before.generations - existing:
            raise LiveInsightError(f"the tables of generation {min(missing)} do not exist any more")
        if not force and paused_too_long(self._stores(before.newest).read_watermarks().rows, now):
            raise LiveInsightError(
                f"generation {before.newest} has not been written for more than a day: the stream may have dropped "
                "records since, which would be missing for good. --force rolls back nevertheless"
            )
        save_pointer(self._first, before, version)
        self._say(
            f"generation {before.newest} is written and shown again; the worker now counts into it what has arrived "
            f"since the switch. Generation {pointer.newest} stays unchanged"
        )
        return 0

    def status(self) -> int:
        """List the generations."""
        pointer, _ = load_versioned_pointer(self._first)
        days = {active.generation: active.cutover_day for active in pointer.active}
        now = self._clock()
        for generation in (FIRST, *self._backend.later_generations()):
            store = self._stores(generation)
            since = "" if generation == FIRST else f", {self._replayed(store)}"
            reached = freshest_possible(store.read_watermarks().rows)
            counted = "nothing counted" if reached is None else f"counted up to {time_text(reached)}"
            lag = "" if reached is None or now - reached < LAG_MS else f" ({duration_text(now - reached)} ago)"
            self._say(f"generation {generation}: {_state(generation, pointer, days)}; {counted}{lag}{since}")
        if pointer.changed_at:
            undo = f"; a rollback leads to {_listed(pointer.history[-1])}" if pointer.history else ""
            self._say(f"last changed {time_text(pointer.changed_at)}{undo}")
        return 0

    def drop(self, generation: int, *, confirmed: bool) -> int:
        """Delete the tables of a generation that is not in use."""
        pointer, version = load_versioned_pointer(self._first)
        if generation == FIRST:
            raise LiveInsightError("generation 1 stays: its tables also hold the pointer and the salts of ingest")
        if generation in pointer.generations:
            raise LiveInsightError(f"generation {generation} is in use: `liveinsight rebuild rollback` first")
        if generation not in self._backend.later_generations():
            raise LiveInsightError(f"there is no generation {generation}: see `liveinsight rebuild status`")
        confirm(f"Delete the tables of generation {generation} for good?", yes=confirmed)
        # The pointer changes first, so that a concurrent switch is refused.
        save_pointer(self._first, forgotten(pointer, generation, self._clock()), version)
        for line in self._backend.delete_generation(generation):
            self._say(line)
        return 0

    def _built(self, pointer: Pointer) -> int | None:
        """The generation that is being built, or is built and not active yet."""
        return max((each for each in self._backend.later_generations() if each > pointer.newest), default=None)

    def _reached(self, store: Store) -> int | None:
        shards = self._retry(self._stream.shards)
        incarnation = self._retry(self._stream.incarnation)
        return counted_until(shards, store.read_watermarks().rows, incarnation)

    def _replayed(self, store: Store) -> str:
        try:
            return f"replayed since {time_text(load_replay(store).first_arrival)}"
        except LiveInsightError:
            return "not begun"

    def _wait_for(self, stores: Iterable[GenerationalReader | Store], moment: int) -> None:
        with self._console.status("reading the differences again"):
            for store in stores:
                read = store.read_watermarks
                wait_for_watermarks(
                    lambda read=read: read().rows,  # type: ignore[misc]
                    lambda rows: (freshest_possible(rows) or 0) > moment,
                    WaitLimits.with_cadence(self._settings),
                )

    def _tracked(self, days: list[SiteDay]) -> Iterable[SiteDay]:
        hidden = not self._console.is_terminal
        return track(days, "comparing days", console=self._console, transient=True, disable=hidden)

    def _retry(self, call: Callable[[], Answer]) -> Answer:
        return retry(call, StreamUnavailable, attempts=ATTEMPTS, sleep=time.sleep)

    def _say(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _state(generation: int, pointer: Pointer, days: dict[int, int]) -> str:
    if generation not in days:
        return "not in use" if generation < pointer.newest else "built, not in use"
    first = f"shown from {day_from_number(days[generation])} on" if days[generation] else "shown for all earlier days"
    if len(days) == 1:
        first = "shown"
    return f"{first}, written" if generation == pointer.newest else first


def _listed(active: Iterable[Active]) -> str:
    return "generation " + ", then ".join(str(each.generation) for each in active)
