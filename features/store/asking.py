"""The one way in which the store fails, and how it is left. Knows nothing of rows."""

from collections.abc import Iterator
from contextlib import contextmanager

from feast import FeatureStore

from features.redis_errors import says_away


class StoreUnavailable(Exception):  # noqa: N818 - named for the state, as gRPC's UNAVAILABLE
    """The online store did not answer in time, or not at all."""


@contextmanager
def asking() -> Iterator[None]:
    """Around questions to the store.

    Raises:
        StoreUnavailable: it does not answer.
    """
    try:
        yield
    except Exception as error:
        if not says_away(error):
            raise
        raise StoreUnavailable(str(error)) from error


async def close_store(store: FeatureStore) -> None:
    """Close the connections that readers and writers of this event loop opened."""
    client = getattr(store.provider.online_store, "_client_async", None)  # Feast 0.67's Redis store has no close
    if client is not None:
        await client.aclose()
