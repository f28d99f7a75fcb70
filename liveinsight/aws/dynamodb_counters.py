"""Counters, their previews and watermarks in the counters table.

In: counter items of one shard. Out: the same, or rows of all shards for a query. `keys` makes the keys;
`liveinsight.storage.store` says what each method promises.
"""

from __future__ import annotations

from collections.abc import Sequence

from liveinsight.aws.dynamodb import (
    AFTER_ALL,
    Item,
    Statement,
    StoreTables,
    between,
    insert,
    key_item,
    translated,
    update,
)
from liveinsight.aws.keys import (
    DIMENSIONS,
    WATERMARKS,
    bucket_of,
    bucket_text,
    counter_key,
    dimension_partition,
    minutes_partition,
    previewing_shard,
    site_and_day,
    totals_partition,
    utc_days_of_quarters,
    value_key,
    value_of,
)
from liveinsight.counting.counters import CounterItem, decode_counter, split_totals
from liveinsight.counting.keys import CounterKey, dimension_key
from liveinsight.counting.layout import QUARTERS_PER_ITEM, storage_item
from liveinsight.counting.previews import (
    PreviewRow,
    decode_rows,
    on_top,
)
from liveinsight.model.marks import NO_MARK
from liveinsight.storage.store import (
    CounterWrite,
    Read,
    Watermark,
    Written,
)


class CounterTable(StoreTables):
    """The methods of a `Store` that count, query counters, and publish watermarks. Thread safe."""

    def load_counters(self, shard: str, keys: Sequence[CounterKey]) -> dict[CounterKey, CounterItem]:
        by_stored = {counter_key(key, shard): key for key in keys}
        items = self._dynamo.get(self._counters, list(by_stored), consistent=True)
        return {by_stored[item["pk"]["S"], item["sk"]["S"]]: _counter(item) for item in items}

    def write_counters(self, shard: str, writes: Sequence[CounterWrite]) -> Written:
        return Written(*self._dynamo.execute([self._counter_statement(shard, write) for write in writes]))

    def _counter_statement(self, shard: str, write: CounterWrite) -> Statement:
        key = counter_key(write.key, shard)
        attributes: Item = {"m": {"S": write.mark}, "b": {"B": write.data}}
        if write.expires_at:
            attributes["ttl"] = {"N": str(write.expires_at)}
        if write.expected == NO_MARK:
            return insert(self._counters, key, attributes)
        return update(self._counters, key, attributes, '"m" = ?', {"S": write.expected})

    def write_watermark(self, watermark: Watermark) -> None:
        condition = (
            "attribute_not_exists(pk) OR incarnation < :incarnation OR (incarnation = :incarnation AND is_closed = :no"
        )
        values: Item = {":incarnation": {"N": str(watermark.incarnation)}, ":no": {"BOOL": False}}
        if not watermark.closed:
            condition += " AND as_of <= :as_of AND fresh_as_of <= :fresh_as_of AND preview_as_of <= :preview_as_of"
            condition += " AND (as_of < :as_of OR fresh_as_of < :fresh_as_of OR preview_as_of < :preview_as_of)"
            values[":as_of"] = {"N": str(watermark.as_of)}
            values[":fresh_as_of"] = {"N": str(watermark.fresh_as_of)}
            values[":preview_as_of"] = {"N": str(watermark.preview_as_of)}
        body: Item = {
            "as_of": {"N": str(watermark.as_of)},
            "fresh_as_of": {"N": str(watermark.fresh_as_of)},
            "preview_as_of": {"N": str(watermark.preview_as_of)},
            "is_closed": {"BOOL": watermark.closed},
            "incarnation": {"N": str(watermark.incarnation)},
        }
        if watermark.previewed is not None:
            body["previewed"] = {"L": [{"S": site} for site in watermark.previewed]}
        key = (WATERMARKS, watermark.shard_id)
        self._dynamo.put_if(self._counters, key_item(key) | body, condition + ")", values)

    def read_totals(self, site: str, first_quarter: int, last_quarter: int) -> Read[tuple[int, CounterItem]]:
        items: list[Item] = []
        first_bucket = first_quarter - first_quarter % QUARTERS_PER_ITEM
        span = between(bucket_text(first_bucket), bucket_text(last_quarter) + AFTER_ALL)
        for day in utc_days_of_quarters(first_bucket, last_quarter):
            items.extend(self._dynamo.query(self._counters, totals_partition(site, day), **span))
        read = _by_bucket(items)
        return Read(split_totals(read.rows, first_quarter, last_quarter), read.items_read)

    def read_dimension(self, site: str, day: int, dimension: str) -> Read[tuple[str, CounterItem]]:
        host, name = storage_item(dimension_key(site, day, dimension, ""))
        items = self._dynamo.query(self._counters, dimension_partition(site, day, host.dimension))
        rows = []
        marks: dict[str, str] = {}
        previews: list[tuple[str, list[PreviewRow]]] = []
        for item in items:
            sort_key = item["sk"]["S"]
            if tag := previewing_shard(sort_key):
                previews.append((tag, decode_rows(item["b"]["B"])))
            else:
                marks[sort_key] = item["m"]["S"]
                rows.append((value_of(sort_key), _counter(item)))
        partial = False
        for tag, previewed in previews:
            shown, in_part = on_top(previewed, marks, value_key(tag, ""))
            rows.extend(shown)
            partial |= in_part
        if name:
            rows = [(value, item.embedded[name]) for value, item in rows if name in item.embedded]
        return Read(rows, len(items), partial)

    def read_minutes(
        self, site: str, first_minute: int, last_minute: int, dimension: str = ""
    ) -> Read[tuple[int, CounterItem]]:
        span = between(bucket_text(first_minute), bucket_text(last_minute) + AFTER_ALL)
        return _by_bucket(self._dynamo.query(self._counters, minutes_partition(site, dimension), **span))

    def read_watermarks(self) -> Read[Watermark]:
        items = self._dynamo.query(self._counters, WATERMARKS)
        rows = [
            Watermark(
                item["sk"]["S"],
                int(item["as_of"]["N"]),
                item["is_closed"]["BOOL"],
                int(item["incarnation"]["N"]),
                int(item["fresh_as_of"]["N"]),
                int(item["preview_as_of"]["N"]),
                tuple(site["S"] for site in item["previewed"]["L"]) if "previewed" in item else None,
            )
            for item in items
        ]
        return Read(rows, len(rows))

    def counted_days(self) -> set[tuple[str, int]]:
        pages = self._dynamo.client.get_paginator("scan").paginate(
            TableName=self._counters,
            ProjectionExpression="pk",
            FilterExpression="begins_with(pk, :dimensions)",
            ExpressionAttributeValues={":dimensions": {"S": DIMENSIONS}},
        )
        with translated():
            return {site_and_day(item["pk"]["S"]) for page in pages for item in page["Items"]}


def _counter(item: Item) -> CounterItem:
    return decode_counter(item["b"]["B"], item["m"]["S"])


def _by_bucket(items: list[Item]) -> Read[tuple[int, CounterItem]]:
    return Read([(bucket_of(item["sk"]["S"]), _counter(item)) for item in items], len(items))
