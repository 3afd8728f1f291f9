"""What is registered with Feast and how its stores are reached; generated from `spec`, nothing is listed twice.

Choices:
- Two user views: `user_batch_…` (materialised only) and `user_live_…` (pushed only), so that neither overwrites the
  other. Names carry the feature fingerprint: a process reads only rows of the features it was written for.
- Files offline, Redis protocol online, a registry file. Feast makes no call outside with this configuration.
- redis-py would retry three times, with back-off; here a single server is not asked again (a cluster is, after looking
  where keys lie now), and a connection may take 1 s.

This module does not know what goes into the views (store).
"""

import prometheus_client  # noqa: F401 - first: Feast's import would turn every metric of the process into a file

# isort: split
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.types import Array, Float32, Int64, String

from features import spec
from features.offline import FEATURES, EntityName, offline_folder

_CONNECTION_DEFAULTS = {
    "retry": "null",
    "driver_info": "null",  # a new connection does not introduce itself first: 2 ms to the first row instead of 6
}
_LIMIT_S = 5
_CONNECT_LIMIT_S = 1
_TYPES: dict[spec.DType, Any] = {
    "int64": Int64,
    "float32": Float32,
    "string": String,
    "list[int64]": Array(Int64),
    "list[float32]": Array(Float32),
    "list[string]": Array(String),
}


class Definitions(NamedTuple):
    """Everything that is registered with Feast."""

    user: Entity
    item: Entity
    user_batch: FeatureView
    user_live: FeatureView
    items: FeatureView


def view_name(kind: str) -> str:
    """Name of the `user_batch`, `user_live` or `item` view of this feature list."""
    return f"{kind}_{spec.fingerprint()}"


def define(offline_dir: Path) -> Definitions:
    """Feast's entities and views over the files that `write_offline` leaves in `offline_dir` (absolute)."""
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    users = _file_source("user", offline_dir)
    pushed = PushSource(name=view_name("user_push"), batch_source=users)
    return Definitions(
        user,
        item,
        _view("user_batch", "user", user, users),
        # online=False only keeps `feast materialize` from filling it; pushes and reads work (Feast 0.67).
        _view("user_live", "user", user, pushed, online=False),
        _view("item", "item", item, _file_source("item", offline_dir)),
    )


def _file_source(entity: EntityName, offline_dir: Path) -> FileSource:
    folder = offline_folder(entity, offline_dir)
    return FileSource(
        name=f"{folder.name}_files",
        path=str(folder),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )


def _view(
    kind: str, name: EntityName, entity: Entity, source: FileSource | PushSource, *, online: bool = True
) -> FeatureView:
    key = Field(name=entity.join_key, dtype=String)
    fields = [
        Field(name=feature.name, dtype=_TYPES[feature.dtype], description=feature.unit) for feature in FEATURES[name]
    ]
    return FeatureView(name=view_name(kind), entities=[entity], schema=[key, *fields], source=source, online=online)


def open_store(
    repo_dir: Path, offline_dir: Path, redis: str, project: str = "aisle", *, limit_s: float = _LIMIT_S
) -> FeatureStore:
    """Open the store and register the definitions where they are not yet; does not connect to the online store.

    Args:
        repo_dir: Holds the registry file; made if absent.
        offline_dir: Holds the files of `write_offline`.
        redis: The online store in Feast's format, "host:port[,db=0][,password=…]"; any option of redis-py may follow.
            Several hosts are nodes of a cluster.
        project: Feast's project, part of every key.
        limit_s: How long one command may take, seconds, if `redis` does not say.
    """
    repo_dir.mkdir(parents=True, exist_ok=True)
    repo_dir = repo_dir.resolve()
    store = FeatureStore(str(repo_dir), repo_config(repo_dir, redis, project, limit_s=limit_s))
    wanted = define(offline_dir.resolve())
    with _locked(repo_dir):
        registered = {view.name: view for view in store.list_feature_views()}
        if any(registered.get(view.name) != view for view in (wanted.user_batch, wanted.user_live, wanted.items)):
            store.apply(list(wanted))
    return store


def repo_config(
    repo_dir: Path, redis: str, project: str, *, overwrite: bool = False, limit_s: float = _LIMIT_S
) -> RepoConfig:
    """The configuration behind `open_store`; with `overwrite`, writes do not ask whether the stored row is newer."""
    parts = redis.split(",")
    given = {part.partition("=")[0] for part in parts}
    is_cluster = sum("=" not in part for part in parts) > 1
    limits = {"socket_timeout": limit_s, "socket_connect_timeout": min(limit_s, _CONNECT_LIMIT_S)}
    defaults = {**limits, **_CONNECTION_DEFAULTS}
    options = [f"{name}={value}" for name, value in defaults.items() if name not in given]
    return RepoConfig(
        project=project,
        provider="local",
        repo_path=repo_dir,
        # A lifetime of 0 means that the cached registry never expires, and so is never reloaded inside a request.
        registry={"registry_type": "file", "path": str(repo_dir / "registry.db"), "cache_ttl_seconds": 0},
        offline_store={"type": "dask"},
        online_store={
            "type": "redis",
            "redis_type": "redis_cluster" if is_cluster else "redis",
            "connection_string": ",".join([redis, *options]),
            "skip_dedup": overwrite,
        },
        entity_key_serialization_version=3,
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time: Feast empties the registry file before it writes it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
