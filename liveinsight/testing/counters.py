"""Contributions and counters one by one, for tests that apply or compare them outside a flush."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from liveinsight.counting.contributions import Contribution, PendingContributions
from liveinsight.counting.counters import CounterItem, apply_contributions
from liveinsight.counting.keys import CounterKey
from liveinsight.counting.layout import CounterGroup, embedded_key


def by_counter(contributions: Iterable[Contribution]) -> Iterator[tuple[CounterKey, Contribution]]:
    """(counter, contribution) pairs, with groups taken apart."""
    for contribution in contributions:
        target = contribution.target
        for key in target.keys if isinstance(target, CounterGroup) else (target,):
            yield key, contribution


def apply_pending(item: CounterItem, pending: Sequence[Contribution]) -> bool:
    """`apply_contributions` to this counter alone, in order of their marks."""
    return apply_contributions(item, [("", PendingContributions(pending))] if pending else [])


def split_items(items: Iterable[tuple[CounterKey, CounterItem]]) -> Iterator[tuple[CounterKey, CounterItem]]:
    """The counters in stored items, one by one."""
    for key, item in items:
        yield key, item
        for name, counter in item.embedded.items():
            yield embedded_key(key, name), counter
