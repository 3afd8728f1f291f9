"""What every place that may hold a shopper can do. Knows nothing of any one place."""

from collections.abc import Sequence
from typing import Protocol

from services.ingest.privacy.shopper import Shopper


class PersonalStore(Protocol):
    """A place that may hold records of shoppers."""

    @property
    def name(self) -> str:
        """As PurgedStore calls it."""
        ...

    async def count(self, shopper: Shopper) -> int:
        """How many records of the shopper are there now.

        Raises:
            services.common.streams.Unavailable: it does not answer.
        """
        ...

    async def remove(self, shopper: Shopper) -> int:
        """Remove them; safe to repeat.

        Returns:
            How many were removed.

        Raises:
            services.common.streams.Unavailable: it does not answer; some may have been removed.
        """
        ...


class Eraser(Protocol):
    """Forgets feature rows; `features.store.UserEraser` is one."""

    async def erase(self, user_ids: Sequence[str]) -> int:
        """Remove the rows of some shoppers; how many there were."""
        ...
