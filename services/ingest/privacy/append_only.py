"""Valkey's append-only file made anew, so that what was deleted is not on the disk any more.

Choices: a rewriting that began before the deletions may carry them on in its second file: it is waited for, and another
one begun. Every primary of a cluster is asked. A server that keeps no such file is left alone.

What no client can reach stays with who runs Valkey: replicas (each rewrites its own file when that has grown),
snapshots and backups.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from services.common.streams import Client, Unavailable, one_error

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.02


async def rewrite(client: Client, seconds: float) -> None:
    """Make the append-only files of all primaries anew and wait until the old ones are replaced.

    Args:
        client: From streams.connect, or Feast's.
        seconds: How long it may take.

    Raises:
        Unavailable: Valkey does not answer, the file could not be written, or the time is over.
    """
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(_rewrite(client, node) for node in await _primaries(client)))
    except TimeoutError as error:
        raise Unavailable(f"the append-only file was not rewritten within {seconds} s") from error


async def _primaries(client: Client) -> list[dict[str, Any]]:
    """What to add to a command for each node."""
    if not hasattr(client, "get_primaries"):
        return [{}]
    with one_error():
        await client.initialize()
        return [{"target_nodes": node} for node in client.get_primaries()]


async def _rewrite(client: Client, node: dict[str, Any]) -> None:
    if not (await _idle(client, node))["aof_enabled"]:
        return
    with one_error():
        await client.execute_command("BGREWRITEAOF", **node)
    if (await _idle(client, node))["aof_last_bgrewrite_status"] != "ok":
        raise Unavailable("the append-only file could not be rewritten")


async def _idle(client: Client, node: dict[str, Any]) -> Mapping[str, Any]:
    """The state of persistence once no rewriting is under way or about to be."""
    while True:
        with one_error():
            found: Mapping[str, Any] = await client.info("persistence", **node)
        if not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"]:
            return found
        await asyncio.sleep(_POLL_SECONDS)
