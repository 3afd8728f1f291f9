"""One shopper's row: read, pushed, erased.

Knows nothing of whole tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl
from feast import FeatureStore
from google.protobuf.message import DecodeError

from features import spec
from features.feast_repo import view_name
from features.offline import check_table
from features.set_if_later import SET_IF_LATER, stamp_bytes
from features.store.asking import StoreUnavailable, asking
from features.store.in_time import InTime
from features.store.messages import decode, entity_key
from features.value_bytes import value_bytes

_WRITE_ROWS = 500
_NO_ROW = (DecodeError, KeyError, TypeError, ValueError, OverflowError, OSError)
"""What Feast raises when others wrote under its keys; the last three for a time stamp that no calendar has."""


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
                self._config, [entity_key("user", name) for name in part["user_id"].to_list()]
            )
            stamps = [stamp_bytes(stamp) for stamp in part["event_timestamp"].to_list()]
            columns = [value_bytes(part[feature.name], feature.dtype) for feature in spec.USER_FEATURES]
            with asking():
                client = await self._online._get_client_async(self._config.online_store)
                async with client.pipeline(transaction=False) as pipe:
                    for key, stamp, *values in zip(keys, stamps, *columns, strict=True):
                        pairs = chain.from_iterable(zip(self._fields, values, strict=True))
                        pipe.eval(SET_IF_LATER, 1, key, self._stamp_field, stamp, *pairs)
                    await pipe.execute()


class UserReader:
    """Reads one shopper's row; for one event loop."""

    def __init__(self, store: FeatureStore, timeout_s: float = 0.05) -> None:
        """Look both views up once.

        Args:
            store: From `open_store`, whose `limit_s` says how soon a dead server of a cluster is noticed.
            timeout_s: Longest wait for one shopper's row, seconds.
        """
        self._config = store.config
        self._online: Any = store.provider.online_store
        self._in_time = InTime(timeout_s)
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
        [key] = self._online._generate_redis_keys_for_entities(self._config, [entity_key("user", user_id)])
        with asking():
            values = await self._in_time.ask(self._values(key))
        if not isinstance(values, list) or len(values) != len(self._fields):
            raise StoreUnavailable(f"unreadable answer: {values!r:.100}")
        for view in self._views:
            here, values = values[: len(view.fields)], values[len(view.fields) :]
            if row := self._row(view, here):
                return row
        return None

    async def close(self) -> None:
        """End what still runs of a read that was given up; the store stays open."""
        await self._in_time.close()

    async def _values(self, key: bytes) -> Any:
        client = await self._online._get_client_async(self._config.online_store)
        return await client.hmget(key, self._fields)

    def _row(self, view: "_ViewFields", values: Sequence[bytes | None]) -> dict[str, object] | None:
        if not any(values):
            return None
        try:
            stamp, found = self._online._get_features_for_entity(values, view.name, view.features)
        except _NO_ROW as error:
            raise StoreUnavailable(f"unreadable answer: {error!r}") from error
        row = decode(spec.USER_FEATURES, found)
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
        entities = [entity_key("user", name) for name in user_ids]
        count = 0
        with asking():
            client = await self._online._get_client_async(self._online_config)
            for config in self._configs:
                for key in self._online._generate_redis_keys_for_entities(config, entities):
                    count += int(await getattr(client, command)(key))
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
