"""Whole tables into the store, and items out of it.

Knows nothing of single shoppers' rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import polars as pl
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features import spec
from features.feast_repo import repo_config, view_name
from features.offline import FEATURES, EntityName, check_table, polars_type, utc
from features.store.asking import asking
from features.store.messages import decode, entity_key, values_of

Progress: TypeAlias = Callable[[int], object]
_Row: TypeAlias = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

_WRITE_ROWS = 500
_READ_ROWS = 1000


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
    _overwrite(store, "user_batch", rows_of(user_frame, "user", stamp), progress)
    _overwrite(store, "item", rows_of(item_frame, "item", stamp), progress)


def take_back(store: FeatureStore, user_ids: Iterable[str]) -> None:
    """Remove what `materialise` wrote of some shoppers; rows that updaters pushed stay. Safe to repeat.

    Raises:
        StoreUnavailable: if the online store does not answer; some may have been removed.
    """
    online: Any = store.provider.online_store
    _, fields = online._generate_hset_keys_for_features(store.get_feature_view(view_name("user_batch")))
    keys = online._generate_redis_keys_for_entities(store.config, [entity_key("user", name) for name in user_ids])
    with asking():
        client = online._get_client(store.config.online_store)
        for key in keys:
            client.hdel(key, *fields)


def _overwrite(store: FeatureStore, kind: str, batches: Iterable[list[_Row]], progress: Progress | None) -> None:
    connection = store.config.online_store.connection_string
    config = repo_config(store.repo_path, connection, store.project, overwrite=True)
    view = store.get_feature_view(view_name(kind))
    for rows in batches:
        with asking():
            store.provider.online_write_batch(config, view, rows, progress)


def rows_of(frame: pl.DataFrame, entity: EntityName, as_of: datetime) -> Iterator[list[_Row]]:
    """Batches of Feast's rows, stamped with `as_of`."""
    names = [feature.name for feature in FEATURES[entity]]
    for part in frame.iter_slices(_WRITE_ROWS):
        keys = [entity_key(entity, name) for name in part[f"{entity}_id"].to_list()]
        columns = [values_of(feature.dtype, part[feature.name].to_list()) for feature in FEATURES[entity]]
        values = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        yield [(key, row, as_of, None) for key, row in zip(keys, values, strict=True)]


def read_items(store: FeatureStore, ids: Sequence[str]) -> pl.DataFrame:
    """Item rows through Feast, for comparing; .1 ms and more a row, so never inside a request.

    Returns:
        `item_id` and the ITEM_FEATURES, one row for each of `ids` in order; null where the store has no row.
    """
    view = store.get_feature_view(view_name("item"))
    rows: list[dict[str, object]] = []
    for start in range(0, len(ids), _READ_ROWS):
        keys = [entity_key("item", name) for name in ids[start : start + _READ_ROWS]]
        answers = store.provider.online_read(store.config, view, keys)
        rows.extend(decode(spec.ITEM_FEATURES, values) or {} for _, values in answers)
    schema = {feature.name: polars_type(feature.dtype) for feature in spec.ITEM_FEATURES}
    return pl.DataFrame(rows, schema=schema).insert_column(0, pl.Series("item_id", ids, pl.String))
