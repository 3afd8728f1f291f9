"""What is away, on the loop that services run on: a server that resets every connection before anything is written to
it, and a cluster none of whose nodes can be reached."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import uvloop
from aisle.v1 import event_service_pb2 as messages

from features.store import StoreUnavailable, UserReader, close_store, open_store
from features.store.asking import asking
from services.common.freshness import lags
from services.common.streams import Unavailable, connect, is_cluster, one_error
from services.ingest.writing import EventWriter
from services.ranking.root import wait_for_back_ends
from tests.event_strategies import plain_event
from tests.fakes import FakeScorer

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_CALLS = 20
NO_CLUSTER = "127.0.0.1:1,127.0.0.1:2"
"""Two nodes, and nobody listens on either."""
RUNNERS = pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
Run = Callable[[Awaitable[None]], None]


@asynccontextmanager
async def resetting_server() -> AsyncIterator[str]:
    """The address of one."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        async def hang_up() -> None:
            while True:
                connection, _ = await loop.sock_accept(listener)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                connection.close()

        hanging_up = asyncio.create_task(hang_up())
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            hanging_up.cancel()


@RUNNERS
@pytest.mark.parametrize("is_cluster", [False, True], ids=["one pipeline", "one by one"])
def test_events_are_unavailable_and_the_call_is_no_error(run: Run, *, is_cluster: bool) -> None:
    async def write() -> None:
        batch = [plain_event(str(number), user_id=str(number)) for number in range(10)]
        async with resetting_server() as address:
            client = connect(address)
            writer = EventWriter(client, 4, 5.0, str, is_cluster=is_cluster)
            for _ in range(_CALLS):
                assert await writer.write(batch) == [messages.EVENT_STATUS_UNAVAILABLE] * len(batch)
            await client.aclose()

    run(write())


@RUNNERS
def test_a_shoppers_row_is_unavailable(run: Run, tmp_path: Path) -> None:
    async def read() -> None:
        async with resetting_server() as address:
            store = open_store(tmp_path / "repo", tmp_path / "offline", address)
            reader = UserReader(store, timeout_s=5.0)
            for number in range(_CALLS):
                with pytest.raises(StoreUnavailable):
                    await reader.read(str(number))
            await close_store(store)

    run(read())


@RUNNERS
def test_events_are_unavailable_without_a_cluster(run: Run) -> None:
    async def write() -> None:
        batch = [plain_event(str(number), user_id=str(number)) for number in range(10)]
        client = connect(NO_CLUSTER)
        assert is_cluster(client)
        writer = EventWriter(client, 4, 5.0, str, is_cluster=True)
        for _ in range(2):
            assert await writer.write(batch) == [messages.EVENT_STATUS_UNAVAILABLE] * len(batch)
        with pytest.raises(Unavailable):
            await lags(client, 4)
        await client.aclose()

    run(write())


@RUNNERS
def test_ranking_starts_without_a_cluster(run: Run, tmp_path: Path) -> None:
    async def start() -> None:
        store = open_store(tmp_path / "repo", tmp_path / "offline", NO_CLUSTER)
        reader = UserReader(store, timeout_s=5.0)
        with pytest.raises(StoreUnavailable):
            await reader.read("user-1")
        scorer = FakeScorer.of_arrays(np.ones((2, 128), np.float32), np.ones(128, np.float32))
        assert not await wait_for_back_ends(reader, scorer, timeout_seconds=0.0)
        await close_store(store)

    run(start())


def test_what_is_a_bug_stays_one() -> None:
    with pytest.raises(RuntimeError, match="dictionary changed size"), one_error():
        raise RuntimeError("dictionary changed size during iteration")
    with pytest.raises(KeyError), asking():
        raise KeyError("user-1")
    with pytest.raises(Unavailable, match="TimeoutError"), one_error():
        raise TimeoutError
