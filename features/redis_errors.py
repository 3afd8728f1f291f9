"""What a Redis client raises when its server is away. Knows nothing of what was asked."""

from redis.exceptions import RedisClusterException, RedisError

_CLOSED_TRANSPORT = "the handler is closed"


def says_away(error: Exception) -> bool:
    """Whether `error` came of a server that is not there, or hung up, rather than of a bug.

    A cluster none of whose nodes answers, or that covers not all slots, is a RedisClusterException, which is no
    RedisError. On uvloop a connection that was reset before the client wrote to it is a RuntimeError, where asyncio's
    own loop has an OSError (uvloop, `UVHandle._ensure_alive`).
    """
    if isinstance(error, RuntimeError):
        return _CLOSED_TRANSPORT in str(error)
    return isinstance(error, RedisError | RedisClusterException | OSError)  # TimeoutError is an OSError
