"""Compares both sides of a copy, item by item.

In: two sides. Out: the number of items of each, and of those that differ, by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from liveinsight.copying.moved import moved, moved_letter
from liveinsight.copying.side import Side
from liveinsight.copying.tally import alive, kind_of


@dataclass
class Comparison:
    """Items of both sides by kind, and those of the source that are not so in the target."""

    source: Counter[str] = field(default_factory=Counter)
    target: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same items, and no others."""
        return not self.differing.total() and +self.source == +self.target


def compare(
    source: Side, target: Side, generations: Iterable[int], soon: int, progress: Callable[[int], object]
) -> Comparison:
    """Read both sides and compare every item that does not expire before `soon` (epoch seconds).

    Args:
        source: the side that was copied.
        target: the copy.
        generations: what was copied.
        soon: either side may delete what expires before.
        progress: is called with the number of items of the source that were read.
    """
    found, done = Comparison(), 0
    for generation in generations:
        for page in source.pages(generation):
            wanted = [part for item in page.items if alive(item, soon) for part in moved(item)]
            found.source.update(map(kind_of, wanted))
            found.differing.update(map(kind_of, target.differing(generation, wanted)))
            done += len(page.items)
            progress(done)
        for letter in source.letters(generation):
            if alive(letter, soon):
                found.source[kind_of(letter)] += 1
                found.differing[kind_of(letter)] += not target.has(generation, moved_letter(letter))
        for item in target.everything(generation):
            found.target[kind_of(item)] += alive(item, soon)
    return found
