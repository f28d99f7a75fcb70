"""Creates the stream, the tables and the first sites. Safe to repeat: what exists is kept.

In: settings. Out: a line of text for each resource. `init`, `up` and `local` call it.
"""

from __future__ import annotations

from liveinsight.settings import Settings
from liveinsight.sites.repository import create_missing
from liveinsight.storage.generation_pointer import FIRST
from liveinsight.wiring import open_backend


def initialise(settings: Settings) -> list[str]:
    """Create what is missing; returns a line of text for each resource.

    Raises:
        LiveInsightError: the backend does not answer, or refuses.
    """
    backend = open_backend(settings)
    done = list(backend.create())
    created = create_missing(backend.store(FIRST), settings.sites)
    return [*done, *(f"site {name} created with time zone {settings.sites[name]}" for name in created)]
