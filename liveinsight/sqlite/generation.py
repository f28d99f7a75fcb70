"""What the parts of the store share: the file, and the generation of counters whose rows they read and write."""

from __future__ import annotations

from liveinsight.sqlite.database import Database


class GenerationTables:
    """The rows of one generation."""

    def __init__(self, database: Database, generation: int) -> None:
        self._database = database
        self._generation = generation
