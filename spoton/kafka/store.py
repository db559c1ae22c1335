"""A table's RocksDB, one database a partition, for tables whose keys we route ourselves.

Faust's own store puts a key into the partition of the event at hand. Our agents take many events at once and set
tables between them, so there the key itself has to tell.
"""

from __future__ import annotations

from typing import Any

import msgspec
from faust.stores import rocksdb


class Store(rocksdb.Store):
    """Faust's RocksDB store over ``rocksdict``, the maintained binding; each key lies in ``partition_for_key``."""

    def __init__(self, url: Any, app: Any, table: Any, **kwargs: Any) -> None:
        super().__init__(url, app, table, driver="rocksdict", **kwargs)

    def _db_of(self, key: bytes) -> Any:
        partition = self.table.partition_for_key(msgspec.json.decode(key))
        assert partition is not None, "our tables route every key"
        return self._db_for_partition(partition)

    def _get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._db_of(key).get(key)
        return found

    def _set(self, key: bytes, value: bytes | None) -> None:
        self._db_of(key).put(key, value)

    def _del(self, key: bytes) -> None:
        self._db_of(key).delete(key)

    def _contains(self, key: bytes) -> bool:
        return self._get(key) is not None
