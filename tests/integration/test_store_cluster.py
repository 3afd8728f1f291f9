"""A reader of features finds its way in a cluster whose servers fall silent, without a reset and for ever."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import redis
from redis.crc import key_slot

from features.store import StoreUnavailable, UserReader, close_store, materialise, open_store
from features.store.messages import entity_key
from services.common.towers import TowerModels
from services.ranking.root import _connected
from services.ranking.settings import RankingSettings
from tests.frames import assert_same, random_item_frame, random_user_frame
from tests.valkey_cluster import replica, silent, slots_of, valkey_cluster

AS_OF = datetime(2017, 12, 30, 5, 0, 0, 123456, tzinfo=UTC)
TIMEOUT_S = 0.05
LATE_S = 1.0
"""By when a read that times out has certainly been answered, on a busy machine."""
LIMIT_S = 0.5
RECOVERY_S = 4.0
USERS = 40


@pytest.fixture
def users() -> pl.DataFrame:
    return random_user_frame(USERS, np.random.default_rng(1))


@pytest.fixture
def nodes(tmp_path: Path, users: pl.DataFrame) -> Iterator[list[str]]:
    """The addresses of a cluster's servers, on which the shoppers' rows lie."""
    with valkey_cluster(tmp_path / "valkey") as address:
        writing = open_store(tmp_path / "repo", tmp_path / "offline", address)
        materialise(writing, users, random_item_frame(1, np.random.default_rng(2)), AS_OF)
        yield address.split(",")


def rows_on(store: Any, number: int) -> list[int]:
    """Which shoppers lie on the cluster's server of that number."""
    names = [entity_key("user", f"user-{row}") for row in range(USERS)]
    keys = store.provider.online_store._generate_redis_keys_for_entities(store.config, names)
    return [row for row, key in enumerate(keys) if key_slot(key) in slots_of(number)]


def port_of(node: str) -> int:
    return int(node.partition(":")[2])


async def is_read(reader: UserReader, row: int) -> bool:
    """Whether there is an answer, which in any case is there in time."""
    start = time.monotonic()
    try:
        return await reader.read(f"user-{row}") is not None
    except StoreUnavailable:
        return False
    finally:
        assert time.monotonic() - start < LATE_S


async def recovered(reader: UserReader, row: int) -> None:
    """Ask until there is an answer."""
    async with asyncio.timeout(RECOVERY_S):
        while not await is_read(reader, row):
            pass


def connections(store: Any) -> int:
    nodes = store.provider.online_store._client_async.nodes_manager.nodes_cache.values()
    return sum(len(node._connections) for node in nodes)


def topologies_asked(nodes: list[str]) -> int:
    """How often the cluster's servers were asked where keys lie."""
    calls = 0
    for node in nodes:
        with redis.Redis(port=port_of(node)) as client:
            calls += client.info("commandstats").get("cmdstat_cluster|slots", {"calls": 0})["calls"]
    return calls


@pytest.mark.parametrize("number", [0, 2])
async def test_rows_are_read_where_a_replica_took_over_from_a_silent_server(
    tmp_path: Path, nodes: list[str], users: pl.DataFrame, number: int
) -> None:
    store = open_store(tmp_path / "repo", tmp_path / "offline", ",".join(nodes), limit_s=LIMIT_S)
    reader = UserReader(store, TIMEOUT_S)
    rows = rows_on(store, number)
    port = port_of(nodes[number])
    with replica(tmp_path / "replica", port) as follower:
        await recovered(reader, rows[0])
        with silent(port):
            assert not any(await asyncio.gather(*(is_read(reader, row) for row in rows)))
            follower.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")  # type: ignore[no-untyped-call]
            await recovered(reader, rows[0])
            for row in range(USERS):
                assert_same(await reader.read(f"user-{row}"), users.row(row, named=True))
            assert connections(store) < 10
        await reader.close()
        await close_store(store)


async def test_reads_go_on_when_a_silent_server_speaks_again(tmp_path: Path, nodes: list[str]) -> None:
    store = open_store(tmp_path / "repo", tmp_path / "offline", ",".join(nodes), limit_s=LIMIT_S)
    reader = UserReader(store, TIMEOUT_S)
    here, elsewhere = rows_on(store, 1)[0], rows_on(store, 0)[0]
    await recovered(reader, here)
    asked_before = topologies_asked(nodes)
    with silent(port_of(nodes[1])):
        assert [await is_read(reader, here) for _ in range(40)] == [False] * 40
        await recovered(reader, elsewhere)
    assert topologies_asked(nodes) > asked_before
    await recovered(reader, here)
    assert connections(store) < 10
    await reader.close()
    await close_store(store)


async def test_a_silent_server_named_first_does_not_hide_the_others_from_ranking(
    tmp_path: Path, nodes: list[str], users: pl.DataFrame
) -> None:
    address = ",".join(reversed(nodes))
    settings = RankingSettings(redis=address, feast_dir=tmp_path / "repo", offline_dir=tmp_path / "offline")
    row = rows_on(open_store(settings.feast_dir, settings.offline_dir, address), 0)[0]
    with silent(port_of(nodes[-1])):
        async with _connected(settings, "v1", TowerModels.of_version("v1")) as behind:
            assert not await is_read(behind.users, row)
            await recovered(behind.users, row)
            assert_same(await behind.users.read(f"user-{row}"), users.row(row, named=True))
