"""The online feature store: rows in (materialise, push) and one shopper's row out, through Feast.

Choices, measured with Feast 0.67 and Valkey 9.1 on two cores:
- Rows go in as protos through the provider's `online_write_batch`: 2,469 shoppers in .8 s and 24,500 items in 1.7 s,
  against 1.7 + 2.4 s for `write_to_online_store` and 7.4 + 2.5 s for `materialize`; no value passes through pandas.
- Materialising overwrites: otherwise a second run at the same instant, or going back to an older bundle, is dropped in
  silence. Pushing keeps Feast's rule: a row that is not newer than the stored one is dropped; but within the store, in
  one step, where Feast reads, decides and writes. What is written are the bytes that Feast would write, a third of its
  CPU, by the Redis store's own keys.
- A shopper is read from both views in one HMGET, by the Redis store's own keys and decoding, with the views looked up
  when the reader is made: half the CPU of two `online_read_async`, which themselves take half the time of
  `get_online_features_async` with `to_dict`. Feast is pinned for it, and tests hold it to what Feast's own calls wrote.
- Each read has a deadline of its own, whatever redis-py's timeouts are.

This module does not know how a value is computed (transforms) nor what it is used for (encode).
"""

import prometheus_client  # noqa: F401 - first: Feast's import would turn every metric of the process into a file

# isort: split
import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from features import spec
from features.feast_repo import define, open_store, repo_config, view_name
from features.offline import FEATURES, EntityName, check_table, polars_type, utc, write_offline
from features.set_if_later import SET_IF_LATER, stamp_bytes
from features.value_bytes import value_bytes

__all__ = [
    "StoreUnavailable",
    "UserEraser",
    "UserReader",
    "UserWriter",
    "close_store",
    "define",
    "materialise",
    "open_store",
    "read_items",
    "write_offline",
]

Progress: TypeAlias = Callable[[int], object]
_Row: TypeAlias = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

_WRITE_ROWS = 500
_READ_ROWS = 1000


class StoreUnavailable(Exception):  # noqa: N818 - named for the state, as gRPC's UNAVAILABLE
    """The online store did not answer in time, or not at all."""


@dataclass(frozen=True, slots=True)
class _Type:
    """How Feast's Value message carries one of the spec's types."""

    field: str
    message: type[Any] | None = None
    """The list message; None for a scalar."""
    numpy: type[np.generic] | None = None
    """Element type of the array read back; None for scalars and for text, which stay Python objects."""


_TYPES: dict[spec.DType, _Type] = {
    "int64": _Type("int64_val"),
    "float32": _Type("float_val"),
    "string": _Type("string_val"),
    "list[int64]": _Type("int64_list_val", Int64List, np.int64),
    "list[float32]": _Type("float_list_val", FloatList, np.float32),
    "list[string]": _Type("string_list_val", StringList),
}


def materialise(
    store: FeatureStore,
    user_frame: pl.DataFrame,
    item_frame: pl.DataFrame,
    as_of: datetime,
    progress: Progress | None = None,
) -> None:
    """Write both tables to the online store, over whatever rows of these shoppers and items the batch views hold.

    Args:
        store: From `open_store`.
        user_frame: `user_id` and the USER_FEATURES.
        item_frame: `item_id` and the ITEM_FEATURES.
        as_of: Aware instant up to which events were known.
        progress: Called with the number of rows just written.

    Raises:
        ValueError: if a table is not the entity's (see `check_table`) or `as_of` has no time zone.
        StoreUnavailable: if the online store does not answer.
    """
    check_table(user_frame, "user")
    check_table(item_frame, "item")
    stamp = utc(as_of)
    _overwrite(store, "user_batch", _rows(user_frame, "user", stamp), progress)
    _overwrite(store, "item", _rows(item_frame, "item", stamp), progress)


def _overwrite(store: FeatureStore, kind: str, batches: Iterable[list[_Row]], progress: Progress | None) -> None:
    connection = store.config.online_store.connection_string
    config = repo_config(store.repo_path, connection, store.project, overwrite=True)
    view = store.get_feature_view(view_name(kind))
    for rows in batches:
        try:
            store.provider.online_write_batch(config, view, rows, progress)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error


def _rows(frame: pl.DataFrame, entity: EntityName, as_of: datetime) -> Iterator[list[_Row]]:
    """Batches of Feast's rows, stamped with `as_of`."""
    names = [feature.name for feature in FEATURES[entity]]
    for part in frame.iter_slices(_WRITE_ROWS):
        keys = [_key(entity, name) for name in part[f"{entity}_id"].to_list()]
        columns = [_values(feature.dtype, part[feature.name].to_list()) for feature in FEATURES[entity]]
        values = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        yield [(key, row, as_of, None) for key, row in zip(keys, values, strict=True)]


def _key(entity: EntityName, name: str) -> EntityKey:
    return EntityKey(join_keys=[f"{entity}_id"], entity_values=[Value(string_val=name)])


def _values(dtype: spec.DType, values: list[Any]) -> list[Value]:
    kind = _TYPES[dtype]
    if kind.message is None:
        return [Value(**{kind.field: value}) for value in values]
    return [Value(**{kind.field: kind.message(val=value)}) for value in values]


class UserWriter:
    """Pushes whole rows into the live view; for one event loop.

    Each row is compared and set in one step, so that of two writers the one with the later row wins, however long the
    other one slept in between.
    """

    def __init__(self, store: FeatureStore) -> None:
        """Look the view up once."""
        self._config = store.config
        self._online: Any = store.provider.online_store
        view = _ViewFields.of(store, view_name("user_live"))
        fields = dict(zip(view.features, view.fields, strict=True))
        self._fields = [fields[feature.name] for feature in spec.USER_FEATURES]
        self._stamp_field = view.fields[-1]

    async def push(self, frame: pl.DataFrame) -> None:
        """Write rows; one that is not later than the shopper's stored row is dropped in silence.

        Args:
            frame: `user_id`, the USER_FEATURES and `event_timestamp` (microseconds, UTC), which the caller makes
                strictly increasing for each shopper.

        Raises:
            ValueError: if the table is not of this form (see `check_table`).
            StoreUnavailable: if the online store does not answer; some rows may have been written.
        """
        check_table(frame, "user")
        for part in frame.iter_slices(_WRITE_ROWS):
            keys = self._online._generate_redis_keys_for_entities(
                self._config, [_key("user", name) for name in part["user_id"].to_list()]
            )
            stamps = [stamp_bytes(stamp) for stamp in part["event_timestamp"].to_list()]
            columns = [value_bytes(part[feature.name], feature.dtype) for feature in spec.USER_FEATURES]
            try:
                client = await self._online._get_client_async(self._config.online_store)
                async with client.pipeline(transaction=False) as pipe:
                    for key, stamp, *values in zip(keys, stamps, *columns, strict=True):
                        pairs = chain.from_iterable(zip(self._fields, values, strict=True))
                        pipe.eval(SET_IF_LATER, 1, key, self._stamp_field, stamp, *pairs)
                    await pipe.execute()
            except (RedisError, OSError) as error:
                raise StoreUnavailable(str(error)) from error


class UserReader:
    """Reads one shopper's row; for one event loop."""

    def __init__(self, store: FeatureStore, timeout_s: float = 0.05) -> None:
        """Look both views up once.

        Args:
            store: From `open_store`.
            timeout_s: Longest wait for one shopper's row, seconds.
        """
        self._config = store.config
        self._online: Any = store.provider.online_store
        self._timeout_s = timeout_s
        self._views = [_ViewFields.of(store, view_name(name)) for name in ("user_live", "user_batch")]
        self._fields = [field for view in self._views for field in view.fields]

    async def read(self, user_id: str) -> Mapping[str, object] | None:
        """The shopper's live row if there is one, else the materialised one, else None; never a mix of the two.

        Returns:
            The USER_FEATURES (scalars as Python numbers, int64 and float32 lists as arrays, text lists as lists of
            str) and `event_timestamp` (aware datetime).

        Raises:
            StoreUnavailable: if the online store does not answer within the time, or answers with what is no row.
        """
        [key] = self._online._generate_redis_keys_for_entities(self._config, [_key("user", user_id)])
        try:
            async with asyncio.timeout(self._timeout_s):
                client = await self._online._get_client_async(self._config.online_store)
                values = await client.hmget(key, self._fields)
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._timeout_s} s") from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        if not isinstance(values, list) or len(values) != len(self._fields):
            raise StoreUnavailable(f"unreadable answer: {values!r:.100}")
        for view in self._views:
            here, values = values[: len(view.fields)], values[len(view.fields) :]
            if row := self._row(view, here):
                return row
        return None

    def _row(self, view: "_ViewFields", values: Sequence[bytes | None]) -> dict[str, object] | None:
        if not any(values):
            return None
        try:
            stamp, found = self._online._get_features_for_entity(values, view.name, view.features)
        except (DecodeError, KeyError, TypeError) as error:  # what Feast raises when others wrote under its keys
            raise StoreUnavailable(f"unreadable answer: {error!r}") from error
        row = _decode(spec.USER_FEATURES, found)
        if row is None:
            return None
        _check_parallel(row)
        return row | {"event_timestamp": stamp}


class UserEraser:
    """Forgets shoppers; for one event loop.

    Feast has no removal of one entity. The Redis store keeps a shopper's rows of all views, also of feature lists of
    before, in one hash per project: its key is removed, in every project that the registry knows.
    """

    def __init__(self, store: FeatureStore) -> None:
        """Look the projects up once."""
        self._online: Any = store.provider.online_store
        self._online_config = store.config.online_store
        names = {store.project, *(project.name for project in store.list_projects())}
        self._configs = [store.config.model_copy(update={"project": name}) for name in sorted(names)]

    async def count(self, user_ids: Sequence[str]) -> int:
        """How many hashes there are of some shoppers.

        Raises:
            StoreUnavailable: if the online store does not answer.
        """
        return await self._each("exists", user_ids)

    async def erase(self, user_ids: Sequence[str]) -> int:
        """Remove the hashes of some shoppers; the number of those that there were. Safe to repeat.

        Raises:
            StoreUnavailable: if the online store does not answer; some may have been removed.
        """
        return await self._each("delete", user_ids)

    async def _each(self, command: str, user_ids: Sequence[str]) -> int:
        entities = [_key("user", name) for name in user_ids]
        count = 0
        try:
            client = await self._online._get_client_async(self._online_config)
            for config in self._configs:
                for key in self._online._generate_redis_keys_for_entities(config, entities):
                    count += int(await getattr(client, command)(key))
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        return count


@dataclass(frozen=True, slots=True)
class _ViewFields:
    """Where a view's values lie in the hash that the Redis store keeps of an entity."""

    name: str
    features: list[str]
    fields: list[bytes | str]

    @classmethod
    def of(cls, store: FeatureStore, name: str) -> "_ViewFields":
        online: Any = store.provider.online_store
        return cls(name, *online._generate_hset_keys_for_features(store.get_feature_view(name)))


def _check_parallel(row: Mapping[str, Any]) -> None:
    for group in spec.PARALLEL_LISTS:
        lengths = {name: len(row[name]) for name in group}
        if len(set(lengths.values())) > 1:
            raise StoreUnavailable(f"lists of different lengths in one row: {lengths}")


def _decode(features: Sequence[spec.Feature], values: Mapping[str, Value] | None) -> dict[str, object] | None:
    """Feast's answer for one key as plain values; None for an unknown key, whose values all come unset."""
    if values is None or values[features[0].name].WhichOneof("val") is None:
        return None
    row: dict[str, object] = {}
    for feature in features:
        kind = _TYPES[feature.dtype]
        value = getattr(values[feature.name], kind.field)
        if kind.message is not None:
            value = value.val[:] if kind.numpy is None else np.array(value.val[:], dtype=kind.numpy)
        row[feature.name] = value
    return row


def read_items(store: FeatureStore, ids: Sequence[str]) -> pl.DataFrame:
    """Item rows through Feast, for comparing; .1 ms and more a row, so never inside a request.

    Returns:
        `item_id` and the ITEM_FEATURES, one row for each of `ids` in order; null where the store has no row.
    """
    view = store.get_feature_view(view_name("item"))
    rows: list[dict[str, object]] = []
    for start in range(0, len(ids), _READ_ROWS):
        keys = [_key("item", name) for name in ids[start : start + _READ_ROWS]]
        answers = store.provider.online_read(store.config, view, keys)
        rows.extend(_decode(spec.ITEM_FEATURES, values) or {} for _, values in answers)
    schema = {feature.name: polars_type(feature.dtype) for feature in spec.ITEM_FEATURES}
    return pl.DataFrame(rows, schema=schema).insert_column(0, pl.Series("item_id", ids, pl.String))


async def close_store(store: FeatureStore) -> None:
    """Close the connections that readers and writers of this event loop opened."""
    client = getattr(store.provider.online_store, "_client_async", None)  # Feast 0.67's Redis store has no close
    if client is not None:
        await client.aclose()
