"""Features through Feast and a real Valkey: what is read is what was written."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from polars.testing import assert_frame_equal

from features import spec
from features.feast_repo import view_name
from features.store import UserEraser, UserReader, UserWriter, close_store, materialise, open_store, read_items
from features.store.tables import rows_of
from tests.frames import assert_same, pushed, random_item_frame, random_user_frame

AS_OF = datetime(2017, 12, 30, 5, 0, 0, 123456, tzinfo=UTC)
PATIENT_SECONDS = 10.0
"""Of a reader whose timeout is not what is tested: the machine may be busy."""


@pytest.fixture
async def store(tmp_path: Path, valkey_address: str) -> AsyncIterator[Any]:
    """A store with keys of its own."""
    opened = open_store(tmp_path / "repo", tmp_path / "offline", valkey_address, project=tmp_path.name)
    yield opened
    await close_store(opened)


@pytest.fixture
def users() -> pl.DataFrame:
    return random_user_frame(40, np.random.default_rng(1))


@pytest.fixture
def items() -> pl.DataFrame:
    return random_item_frame(1_203, np.random.default_rng(2))


async def test_every_feature_of_every_shopper_is_read_as_it_was_written(store: Any, users: pl.DataFrame) -> None:
    materialise(store, users, random_item_frame(1, np.random.default_rng(2)), AS_OF)
    reader = UserReader(store, timeout_s=PATIENT_SECONDS)
    for row in users.iter_rows(named=True):
        read = await reader.read(row["user_id"])
        assert_same(read, row)
        assert read is not None
        assert read["event_timestamp"] == AS_OF


async def test_lists_may_be_empty_and_keep_their_type(store: Any, users: pl.DataFrame, items: pl.DataFrame) -> None:
    materialise(store, users[:1], items[:1], AS_OF)
    row = await UserReader(store, timeout_s=PATIENT_SECONDS).read("user-0")
    assert row is not None
    assert (row["repeat_last_us"].dtype, row["repeat_last_us"].shape) == (np.int64, (0,))  # type: ignore[attr-defined]
    assert (row["leaf_weights"].dtype, row["leaf_weights"].shape) == (np.float32, (0,))  # type: ignore[attr-defined]
    assert row["history_item_ids"] == []


def test_items_are_read_as_they_were_written_in_the_order_asked_for(
    store: Any, users: pl.DataFrame, items: pl.DataFrame
) -> None:
    batches: list[int] = []
    materialise(store, users, items, AS_OF, progress=batches.append)
    assert_frame_equal(read_items(store, items["item_id"].reverse().to_list()), items.reverse(), check_exact=True)
    assert sum(batches) == users.height + items.height


def test_an_item_that_is_not_stored_has_nulls(store: Any, users: pl.DataFrame, items: pl.DataFrame) -> None:
    materialise(store, users, items[:1], AS_OF)
    read = read_items(store, ["nowhere", "item-0"])
    assert read["item_id"].to_list() == ["nowhere", "item-0"]
    assert read.row(0)[1:] == (None,) * len(spec.ITEM_FEATURES)
    assert_frame_equal(read[1:], items[:1], check_exact=True)


async def test_an_unknown_shopper_is_none(store: Any, users: pl.DataFrame, items: pl.DataFrame) -> None:
    materialise(store, users, items[:1], AS_OF)
    assert await UserReader(store, timeout_s=PATIENT_SECONDS).read("nobody") is None


async def test_the_live_row_wins_as_a_whole_whenever_the_batch_row_was_written(
    store: Any, users: pl.DataFrame, items: pl.DataFrame
) -> None:
    live = random_user_frame(2, np.random.default_rng(3))
    stamp = AS_OF + timedelta(microseconds=1)
    await UserWriter(store).push(pushed(live[1:], stamp))
    materialise(store, users, items[:1], AS_OF + timedelta(days=7))
    reader = UserReader(store, timeout_s=PATIENT_SECONDS)
    read = await reader.read("user-1")
    assert_same(read, live.row(1, named=True))
    assert read is not None
    assert read["event_timestamp"] == stamp
    assert_same(await reader.read("user-2"), users.row(2, named=True))


async def test_a_pushed_row_that_is_not_newer_is_dropped(store: Any, users: pl.DataFrame) -> None:
    writer, reader = UserWriter(store), UserReader(store, timeout_s=PATIENT_SECONDS)
    versions = [users[row : row + 1].with_columns(user_id=pl.lit("user-9")) for row in range(4)]
    for version, microseconds in zip(versions, (0, 0, -1, 1), strict=True):
        await writer.push(pushed(version, AS_OF + timedelta(microseconds=microseconds)))
        expected = versions[3] if microseconds == 1 else versions[0]
        assert_same(await reader.read("user-9"), expected.row(0, named=True))


@pytest.mark.parametrize("later", [timedelta(0), timedelta(days=-7)], ids=["same instant", "older bundle"])
async def test_materialising_overwrites_what_was_materialised(
    store: Any, users: pl.DataFrame, items: pl.DataFrame, later: timedelta
) -> None:
    materialise(store, users[2:3], items[:1], AS_OF)
    again = users[3:4].with_columns(user_id=pl.lit("user-2"))
    materialise(store, again, items[1:2].with_columns(item_id=pl.lit("item-0")), AS_OF + later)
    assert_same(await UserReader(store, timeout_s=PATIENT_SECONDS).read("user-2"), again.row(0, named=True))
    assert read_items(store, ["item-0"]).row(0)[1:] == items.row(1)[1:]


async def test_a_table_that_is_not_the_specs_is_refused_before_anything_is_written(
    store: Any, users: pl.DataFrame, items: pl.DataFrame
) -> None:
    with pytest.raises(ValueError, match="item_trend"):
        materialise(store, users, items.drop("item_trend"), AS_OF)
    with pytest.raises(ValueError, match="leaf_names"):
        await UserWriter(store).push(pushed(users.drop("leaf_names"), AS_OF))
    assert await UserReader(store, timeout_s=PATIENT_SECONDS).read("user-1") is None


async def test_rows_of_another_feature_list_are_not_seen(
    store: Any, users: pl.DataFrame, items: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialise(store, users, items[:1], AS_OF)
    monkeypatch.setattr(spec, "HALF_LIFE_DAYS", 85.0)
    address = store.config.online_store.connection_string
    other = open_store(tmp_path / "repo", tmp_path / "offline", address, project=tmp_path.name)
    assert await UserReader(other, timeout_s=PATIENT_SECONDS).read("user-1") is None
    await close_store(other)


async def test_a_request_does_not_touch_the_registry(store: Any, users: pl.DataFrame, tmp_path: Path) -> None:
    materialise(store, users, random_item_frame(1, np.random.default_rng(2)), AS_OF)
    reader = UserReader(store, timeout_s=PATIENT_SECONDS)
    (tmp_path / "repo" / "registry.db").unlink()
    assert_same(await reader.read("user-1"), users.row(1, named=True))


async def hash_of(store: Any, user_id: str) -> dict[bytes, bytes]:
    """Everything that is stored of a shopper."""
    online: Any = store.provider.online_store
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])
    [name] = online._generate_redis_keys_for_entities(store.config, [key])
    client = await online._get_client_async(store.config.online_store)
    return dict(await client.hgetall(name))


async def test_a_pushed_row_is_stored_as_feast_would_store_it(store: Any, users: pl.DataFrame) -> None:
    """Byte for byte: lists of every length, stamps with and without parts of a second, and from before 1970."""
    view = store.get_feature_view(view_name("user_live"))
    for row, stamp in enumerate([AS_OF, AS_OF.replace(microsecond=0), datetime(1960, 5, 4, 3, 2, 1, 7, tzinfo=UTC)]):
        await UserWriter(store).push(pushed(users[row : row + 1], stamp))
        ours = await hash_of(store, f"user-{row}")
        await UserEraser(store).erase([f"user-{row}"])
        [rows] = rows_of(users[row : row + 1], "user", stamp)
        await store.provider.online_write_batch_async(store.config, view, rows, None)
        assert ours == await hash_of(store, f"user-{row}")


@pytest.mark.parametrize("moment", [AS_OF, datetime(1960, 5, 4, 3, 2, 1, tzinfo=UTC)], ids=["2017", "before 1970"])
@pytest.mark.parametrize("earlier", [timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=90)])
async def test_only_a_later_row_is_stored_whatever_was_written_in_between(
    store: Any, users: pl.DataFrame, moment: datetime, earlier: timedelta
) -> None:
    writer = UserWriter(store)
    versions = [users[row : row + 1].with_columns(user_id=pl.lit("user-9")) for row in range(3)]
    for version, stamp in zip(versions, (moment, moment - earlier, moment + earlier), strict=True):
        await writer.push(pushed(version, stamp))
        expected = versions[2] if stamp > moment else versions[0]
        assert_same(await UserReader(store, timeout_s=PATIENT_SECONDS).read("user-9"), expected.row(0, named=True))


async def test_of_two_rows_of_one_push_the_later_one_stays(store: Any, users: pl.DataFrame) -> None:
    rows = users[2:4].with_columns(user_id=pl.lit("user-9"))
    stamps = pl.Series([AS_OF, AS_OF - timedelta(seconds=1)], dtype=pl.Datetime("us", "UTC"))
    await UserWriter(store).push(rows.with_columns(event_timestamp=stamps))
    assert_same(await UserReader(store, timeout_s=PATIENT_SECONDS).read("user-9"), rows.row(0, named=True))
