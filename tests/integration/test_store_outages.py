"""A Valkey that dies, hangs or talks nonsense is one error in the time allowed, and is used again when it is back."""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.store import StoreUnavailable, UserReader, UserWriter, close_store, materialise, open_store
from services.common.process import free_port
from services.common.valkey import ValkeyConfig, start_valkey
from tests.frames import assert_same, pushed, random_item_frame, random_user_frame

AS_OF = datetime(2017, 12, 30, 5, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def users() -> pl.DataFrame:
    return random_user_frame(40, np.random.default_rng(1))


@pytest.fixture
def items() -> pl.DataFrame:
    return random_item_frame(5, np.random.default_rng(2))


@pytest.fixture
def own_valkey(tmp_path: Path) -> ValkeyConfig:
    """A Valkey of the test's own, to be started by it."""
    return ValkeyConfig(tmp_path / "valkey", free_port(), append_only=True, append_fsync="always")


async def unavailable_after(reader: UserReader, user_id: str) -> float:
    """Seconds until the reader says that the store is unavailable."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await reader.read(user_id)
    return time.monotonic() - start


async def test_a_killed_store_fails_fast_and_is_used_again_when_it_is_back(
    tmp_path: Path, own_valkey: ValkeyConfig, users: pl.DataFrame, items: pl.DataFrame
) -> None:
    store = open_store(tmp_path / "repo", tmp_path / "offline", f"127.0.0.1:{own_valkey.port}")
    reader, writer = UserReader(store, timeout_s=5.0), UserWriter(store)
    with start_valkey(own_valkey) as process:
        materialise(store, users, items[:1], AS_OF)
        assert_same(await reader.read("user-1"), users.row(1, named=True))
        os.kill(process.pid, signal.SIGKILL)
        process.stop()
    assert await unavailable_after(reader, "user-1") < 4.0  # refused: does not use up the five seconds
    with pytest.raises(StoreUnavailable):
        await writer.push(pushed(users, AS_OF))
    with pytest.raises(StoreUnavailable):
        materialise(store, users, items[:1], AS_OF)
    with start_valkey(own_valkey):
        assert_same(await reader.read("user-1"), users.row(1, named=True))
        await close_store(store)


async def test_a_hanging_store_costs_the_timeout_and_no_answer_reaches_another_shopper(
    tmp_path: Path, own_valkey: ValkeyConfig, users: pl.DataFrame, items: pl.DataFrame
) -> None:
    store = open_store(tmp_path / "repo", tmp_path / "offline", f"127.0.0.1:{own_valkey.port}")
    reader = UserReader(store, timeout_s=0.5)
    with start_valkey(own_valkey) as process:
        materialise(store, users, items[:1], AS_OF)
        await asyncio.gather(*(reader.read(f"user-{row}") for row in range(3)))
        os.kill(process.pid, signal.SIGSTOP)
        try:
            waits = await asyncio.gather(*(unavailable_after(reader, f"user-{row}") for row in range(3)))
        finally:
            os.kill(process.pid, signal.SIGCONT)
        assert min(waits) > 0.49
        assert max(waits) < 2.0
        reader = UserReader(store, timeout_s=5)
        read = await asyncio.gather(*(reader.read(f"user-{row}") for row in range(20, 30)))
        for row, values in zip(range(20, 30), read, strict=True):
            assert_same(values, users.row(row, named=True))
        await close_store(store)


NONSENSE = {
    "hangs up": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error": b"-LOADING Redis is loading the dataset in memory\r\n",
    "another type": b"+OK\r\n",
    "a number": b":5\r\n",
    "nothing": b"*-1\r\n",
    "too few values": b"*1\r\n$-1\r\n",
    "values that are no messages": b"*20\r\n" + b"$3\r\n\xff\xff\xff\r\n" * 20,
}


@pytest.mark.parametrize("answer", NONSENSE)
async def test_an_answer_that_is_no_row_counts_as_none(tmp_path: Path, answer: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while NONSENSE[answer] and await reader.read(65536):
            writer.write(NONSENSE[answer])
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = open_store(tmp_path / "repo", tmp_path / "offline", f"127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable):
            await UserReader(store, timeout_s=10.0).read("user-1")
        await close_store(store)
