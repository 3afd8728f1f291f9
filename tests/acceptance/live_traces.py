"""Looks for ids in everything that is kept: keys and values in Valkey, and every file, as it is and as it is read.

Knows nothing of what ought to be where.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from services.common import streams
from services.common.process import free_port
from services.common.streams import Client
from services.common.valkey import ValkeyConfig, start_valkey

_COMMAND_SECONDS = 30.0


async def in_keys(redis: str, ids: Sequence[str]) -> list[str]:
    """Keys whose name or value holds one of the ids."""
    sought, found = [name.encode() for name in ids], set[str]()
    client = streams.connect(redis, _COMMAND_SECONDS)
    try:
        async for key in _keys(client):
            content = bytes(key) + await _content(client, key)
            if any(name in content for name in sought):
                found.add(repr(key))
    finally:
        await client.aclose()
    return sorted(found)


def in_files(folder: Path, ids: Sequence[str]) -> list[str]:
    """Files under a folder whose path or content, also what a Parquet file says, holds one of the ids."""
    sought = [name.encode() for name in ids]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(name in content for name in sought for content in _contents(path))
    ]


async def in_append_only_file(directory: Path, ids: Sequence[str]) -> list[str]:
    """Keys that a Valkey would have which starts from a copy of another one's files."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(directory, copy, dirs_exist_ok=True)
        config = ValkeyConfig(Path(copy), free_port())
        with start_valkey(config, _COMMAND_SECONDS):
            return await in_keys(f"127.0.0.1:{config.port}", ids)


async def _keys(client: Client) -> AsyncIterator[bytes]:
    """Every key, streams first and again: an updater empties them while tens of thousands of other keys are read."""
    async for key in client.scan_iter(count=1000, _type="stream"):
        yield key
    async for key in client.scan_iter(count=1000):
        yield key


async def _content(client: Client, key: bytes) -> bytes:
    """All that a key holds."""
    match await client.type(key):
        case b"string":
            parts: Any = [[await client.get(key)]]
        case b"hash":
            parts = (await client.hgetall(key)).items()
        case b"set":
            parts = [await client.smembers(key)]
        case b"zset":
            parts = [await client.zrange(key, 0, -1)]
        case b"stream":
            parts = [pair for _, fields in await client.xrange(key) for pair in fields.items()]
        case b"none":  # gone since it was listed
            parts = []
        case kind:
            raise AssertionError(f"{key!r} is a {kind!r}")
    return _joined(parts)


def _joined(groups: Any) -> bytes:
    return b"\n".join(bytes(part) for group in groups for part in group)


def _contents(path: Path) -> Iterator[bytes]:
    """A file's path, its bytes, and where it is a table what is in its cells."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:  # gone since it was listed
        return
    yield str(path).encode()
    yield raw
    if path.suffix == ".parquet":
        yield pl.read_parquet(raw, hive_partitioning=False).write_ndjson().encode()
