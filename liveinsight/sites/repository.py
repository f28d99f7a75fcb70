"""The stored list of sites: one document of the first generation, changed by compare-and-set.

In: a change, as a pure function from sites to sites. Out: the changed sites. One item makes every change atomic and
cheap to read. After a conflict the change is applied again to the newer sites. The item has room for some thousands of
sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from liveinsight.model.errors import LiveInsightError
from liveinsight.sites.site import Site, Sites, decode_sites, encode_sites
from liveinsight.storage.store import Document, DocumentStore

SITES = "sites"
MAX_BYTES = 350_000
"""An item of DynamoDB takes 400 KB."""
_ATTEMPTS = 20


def load_sites(store: DocumentStore) -> Sites:
    """The current sites, strongly consistent; empty if there were never any."""
    return _load(store)[0]


def change_sites(store: DocumentStore, change: Callable[[Sites], Sites]) -> Sites:
    """Apply `change` to the sites, and return the result.

    Args:
        store: the store of the first generation.
        change: pure: it is called again after a conflict.

    Raises:
        LiveInsightError: the list is too large, or there were too many conflicts.
    """
    for _ in range(_ATTEMPTS):
        sites, version = _load(store)
        changed = change(sites)
        if changed == sites:
            return sites
        text = encode_sites(changed)
        if len(text.encode()) > MAX_BYTES:
            raise LiveInsightError(
                f"the list of sites would be larger than {MAX_BYTES:,} bytes; nothing was changed: "
                "remove sites, or shorten their lists of paths and addresses"
            )
        if store.save_document(SITES, Document(version + 1, text)):
            return changed
    raise LiveInsightError("other operators keep changing the sites; nothing was changed: try again")


def create_missing(store: DocumentStore, zones: Mapping[str, ZoneInfo]) -> list[str]:
    """Create sites that never existed, and return their names. Without a default site, the first becomes it.

    Existing sites stay as they are, and removed ones stay removed.
    """
    made: list[str] = []

    def change(sites: Sites) -> Sites:
        made[:] = [name for name in zones if name not in sites.by_name and name not in sites.removed]
        new = tuple(Site(name=name, time_zone=zones[name].key) for name in made)
        return replace(sites, sites=(*sites.sites, *new), default=sites.default or next(iter(made), ""))

    change_sites(store, change)
    return made


def replace_sites(store: DocumentStore, new: Sites) -> None:
    """Replace all sites by those of another backend.

    Raises:
        LiveInsightError: `store` has sites that `new` does not know, and not as `init` makes them.
    """

    def change(sites: Sites) -> Sites:
        plain = {Site(name=site.name, time_zone=site.time_zone) for site in sites.sites}
        unknown = [site.name for site in sites.sites if site.name not in new.by_name and site not in plain]
        if unknown:
            raise LiveInsightError(f"the target has sites of its own: {', '.join(unknown)}; remove them there first")
        return new

    change_sites(store, change)


def _load(store: DocumentStore) -> tuple[Sites, int]:
    document = store.load_document(SITES)
    return (decode_sites(document.text) if document.version else Sites()), document.version
