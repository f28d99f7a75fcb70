"""Where sites are kept: all of them in one document of the first generation.

One item makes a change of any kind atomic, and lets a reader see with one small read what is new. Two operators who
change something at once both get their way: each change is worked out again on what the other has left. The price
is room: the item holds some thousands of sites.
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
    """The sites as they are now; strongly consistent. None at all if nobody has ever made one."""
    return _load(store)[0]


def change_sites(store: DocumentStore, change: Callable[[Sites], Sites]) -> Sites:
    """Replace the sites by what `change` makes of them, and give that back.

    Args:
        store: the first generation's.
        change: pure, as it is called again when somebody else has changed the sites meanwhile.

    Raises:
        LiveInsightError: there is no room for more, or too many others were faster.
    """
    for _ in range(_ATTEMPTS):
        sites, version = _load(store)
        changed = change(sites)
        if changed == sites:
            return sites
        text = encode_sites(changed)
        if len(text.encode()) > MAX_BYTES:
            raise LiveInsightError(
                f"the list of sites would be larger than {MAX_BYTES:,} bytes, and is kept as it was: "
                "remove sites, or shorten their lists of paths and addresses"
            )
        if store.save_document(SITES, Document(version + 1, text)):
            return changed
    raise LiveInsightError("others keep changing the sites; nothing was changed: try again")


def create_missing(store: DocumentStore, zones: Mapping[str, ZoneInfo]) -> list[str]:
    """Create the sites that have never been, and give back their names. If there is no default, the first becomes it.

    What was changed or removed since stays as it is.
    """
    made: list[str] = []

    def change(sites: Sites) -> Sites:
        made[:] = [name for name in zones if name not in sites.by_name and name not in sites.removed]
        new = tuple(Site(name=name, time_zone=zones[name].key) for name in made)
        return replace(sites, sites=(*sites.sites, *new), default=sites.default or next(iter(made), ""))

    change_sites(store, change)
    return made


def _load(store: DocumentStore) -> tuple[Sites, int]:
    document = store.load_document(SITES)
    return (decode_sites(document.text) if document.version else Sites()), document.version
