"""What is kept in Valkey beside the features: names of keys, shards, connections. The one file that says them.

Choices:
- Events lie in S streams by a hash of the shopper, so that one active updater per shard can hold a shopper's state.
- Every key of a shard carries the same hash tag: a script over several of them is atomic in a cluster, too.
- One connection string for all: `host:port`, more nodes of a cluster after commas, then options as Feast's (`ssl=true`,
  `password=…`).

Knows nothing of what an event or an item is.
"""

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from features.redis_errors import says_away

Client: TypeAlias = Any
"""A `redis.asyncio` client or its cluster sibling, with replies as bytes."""

_RETRY_SECONDS = 0.02
SHARDS_DEFAULT = 8
UPDATERS = "aisle:updaters"
"""Sorted set of the updaters that run, by when they were last heard of: milliseconds of Valkey's clock."""
WANTED = "{aisle:updaters}:wanted"
"""Sorted set of shards that updaters are to give back and not to take, by until when: milliseconds of Valkey's clock.
In a cluster it lies where UPDATERS does."""
CATALOGUE_ITEMS = "aisle:{catalogue}:items"
CATALOGUE_CHANGES = "aisle:{catalogue}:changes"
CATALOGUE_FOLDED = "aisle:{catalogue}:folded"
"""As CATALOGUE_ITEMS, of items that the serving bundle represents: kept for the next training, shown by the bundle."""
CATALOGUE_REVISION = "aisle:{catalogue}:revision"
"""The last revision that was given to an item."""
CATALOGUE_VERSIONS = "aisle:{catalogue}:versions"
"""Set of the bundles for which vectors of live items are kept."""
CATALOGUE_OWNER = "aisle:{catalogue}:owner"
"""Lease of the process that does what only one may do: a random token."""


class Unavailable(Exception):  # noqa: N818 - named for the state, as gRPC's UNAVAILABLE
    """Valkey did not answer, or not in time."""


class EntryId(NamedTuple):
    """A stream entry's id: when it arrived by Valkey's clock, and its number within that millisecond."""

    milliseconds: int
    sequence: int

    @classmethod
    def parse(cls, text: bytes | str) -> "EntryId":
        """From `<milliseconds>-<sequence>`.

        Raises:
            ValueError: it is not of that form.
        """
        milliseconds, _, sequence = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(milliseconds), int(sequence))

    def __str__(self) -> str:
        """As Valkey writes it."""
        return f"{self.milliseconds}-{self.sequence}"


BEGINNING = EntryId(0, 0)
"""Before every entry."""


class ShardKeys:
    """The keys of one shard."""

    def __init__(self, shard: int) -> None:
        """Args: shard: 0 to S - 1."""
        self.shard = shard
        prefix = f"aisle:{{s{shard}}}"
        self.events = f"{prefix}:events"
        self.opted_out = f"{prefix}:opted_out"
        self.owner = f"{prefix}:owner"
        self.progress = f"{prefix}:progress"
        self.dead = f"{prefix}:dead"
        self._prefix = prefix

    def shopper(self, shopper: str) -> str:
        """Where a shopper's known events are kept."""
        return f"{self._prefix}:shopper:{shopper}"

    def seen(self, day: datetime) -> str:
        """Where the event ids that arrived on a UTC day are kept."""
        return f"{self._prefix}:seen:{day:%Y%m%d}"

    def seen_lately(self, now: datetime) -> tuple[str, str]:
        """Those of today and of yesterday."""
        return self.seen(now.astimezone(UTC)), self.seen(now.astimezone(UTC) - timedelta(days=1))


def shard_of(shopper: str, shards: int) -> int:
    """The shard that a shopper's events belong to, 0 to `shards` - 1; the same for ever."""
    return zlib.crc32(shopper.encode("utf-8", errors="surrogatepass")) % shards


def event_digest(event_id: str) -> bytes:
    """16 bytes that stand for an event id."""
    return hashlib.blake2b(event_id.encode("utf-8", errors="surrogatepass"), digest_size=16).digest()


def catalogue_vectors(bundle_version: str) -> str:
    """Where the text vectors of live items are kept for a bundle."""
    return f"aisle:{{catalogue}}:vectors:{bundle_version}"


def connect(address: str, timeout_seconds: float = 1.0) -> Client:
    """A client for one event loop; connects at its first use.

    Args:
        address: `host:port`, further nodes of a cluster and options after commas.
        timeout_seconds: how long a command may take.

    Raises:
        ValueError: names the part of the address that cannot be read.
    """
    parts = [part.strip() for part in address.split(",") if part.strip()]
    nodes = [_node(part) for part in parts if "=" not in part]
    options: dict[str, Any] = dict(part.split("=", 1) for part in parts if "=" in part)
    if "ssl" in options:
        options["ssl"] = options["ssl"].lower() == "true"
    options |= {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
    options["retry"] = Retry(ConstantBackoff(_RETRY_SECONDS), 1)  # by default it waits for seconds, unseen
    if len(nodes) > 1:
        return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in nodes], **options)
    [(host, port)] = nodes or [_node("")]
    return Redis(host=host, port=port, **options)


def is_cluster(client: Client) -> bool:
    """Whether a client of `connect` speaks to several servers, among which the shards are spread."""
    return isinstance(client, RedisCluster)


def _node(part: str) -> tuple[str, int]:
    host, _, port = part.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{part!r} is not host:port")
    return host, int(port)


@contextmanager
def one_error() -> Iterator[None]:
    """Around commands: whatever the client raises when Valkey is away becomes `Unavailable`."""
    try:
        yield
    except Exception as error:
        if not says_away(error):
            raise
        raise Unavailable(str(error) or type(error).__name__) from error


def all_shards(shards: int) -> Iterator[ShardKeys]:
    """The keys of every shard."""
    return map(ShardKeys, range(shards))
