"""What a reader makes of the online store's answers, with the answers made by hand."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value
from google.protobuf.timestamp_pb2 import Timestamp

from features import spec
from features.store import StoreUnavailable, UserReader

_LISTS: dict[str, Any] = {
    "list[string]": lambda n: Value(string_list_val=StringList(val=[f"OAT-MILK-{place}" for place in range(n)])),
    "list[int64]": lambda n: Value(int64_list_val=Int64List(val=range(n))),
    "list[float32]": lambda n: Value(float_list_val=FloatList(val=[0.5] * n)),
}


def a_row(lengths: dict[str, int]) -> dict[str, Value]:
    """One shopper's stored values; every list has two entries but those named."""
    scalars = {"int64": Value(int64_val=3), "float32": Value(float_val=0.25)}
    return {
        feature.name: scalars.get(feature.dtype) or _LISTS[feature.dtype](lengths.get(feature.name, 2))
        for feature in spec.USER_FEATURES
    }


class OnlineStandIn:
    """An online store that answers every question with one row, in the live view or in the other one."""

    def __init__(self, row: dict[str, Value], view: str) -> None:
        self.row, self.view = row, view
        self.fields = [feature.name for feature in spec.USER_FEATURES]

    def _generate_hset_keys_for_features(self, view: str) -> tuple[list[str], list[str]]:
        return self.fields, [f"{view}:{field}" for field in self.fields]

    def _generate_redis_keys_for_entities(self, _config: object, keys: list[object]) -> list[bytes]:
        return [b"key" for _ in keys]

    async def _get_client_async(self, _config: object) -> "OnlineStandIn":
        return self

    async def hmget(self, _key: bytes, fields: list[str]) -> list[Value | None]:
        return [self.row[name] if self.view in view else None for view, name in (field.split(":") for field in fields)]

    def _get_features_for_entity(
        self, values: list[Value], _view: str, names: list[str]
    ) -> tuple[datetime, dict[str, Value]]:
        return datetime(2026, 1, 1, tzinfo=UTC), dict(zip(names, values, strict=True))


def a_reader(row: dict[str, Value], view: str = "user_batch") -> UserReader:
    """A reader whose store holds this row for everybody."""
    return reader_of(OnlineStandIn(row, view))


def reader_of(online: OnlineStandIn) -> UserReader:
    """A reader of this online store."""
    provider = SimpleNamespace(online_store=online)
    config = SimpleNamespace(online_store=None)
    store: Any = SimpleNamespace(get_feature_view=str, config=config, provider=provider)
    return UserReader(store)


@pytest.mark.parametrize("view", ["user_live", "user_batch"])
async def test_a_whole_row_is_read(view: str) -> None:
    found = await a_reader(a_row({}), view).read("household-7")
    assert found is not None
    assert found["repeat_item_ids"] == ["OAT-MILK-0", "OAT-MILK-1"]
    assert found["event_count"] == 3


@pytest.mark.parametrize("group", spec.PARALLEL_LISTS, ids=lambda group: group[0])
async def test_a_torn_row_is_as_good_as_none_and_the_lists_are_named(group: tuple[str, ...]) -> None:
    """Encoding it would mix one item's numbers with another's, or raise in the middle of a request."""
    with pytest.raises(StoreUnavailable, match=f"'{group[-1]}': 1"):
        await a_reader(a_row({group[-1]: 1})).read("household-7")


class StampStandIn(OnlineStandIn):
    """Every shopper's row is a time stamp and values of Feast's own making."""

    def __init__(self, seconds: int) -> None:
        super().__init__({}, "user_live")
        self.stamp = Timestamp(seconds=seconds)

    async def hmget(self, _key: bytes, fields: list[str]) -> list[Any]:
        return [b"\x20\x03" for _ in fields]

    def _get_features_for_entity(self, values: list[Any], view: str, names: list[str]) -> Any:
        answer = [*values, self.stamp.SerializeToString()]
        return RedisOnlineStore._get_features_for_entity(self, answer, view, [*names, f"_ts:{view}"])  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [2**62, 10**13, 10**12, -(2**62)], ids=str)
async def test_a_time_that_no_calendar_has_is_as_good_as_no_row(seconds: int) -> None:
    with pytest.raises(StoreUnavailable, match="unreadable answer"):
        await reader_of(StampStandIn(seconds)).read("household-7")
