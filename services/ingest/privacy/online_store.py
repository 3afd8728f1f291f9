"""The shopper's feature rows in Feast's online store: "online_store".

A record is all rows of one name in one project: where files hide ids, rows are materialised under pseudonyms.
"""

from features.store import StoreUnavailable, UserEraser
from services.common.streams import Unavailable
from services.ingest.privacy.shopper import Shopper


class OnlineStore:
    """Feature rows, live and materialised."""

    name = "online_store"

    def __init__(self, eraser: UserEraser) -> None:
        """Args: eraser: over the store that ranking reads."""
        self._eraser = eraser

    async def count(self, shopper: Shopper) -> int:
        """How many there are."""
        try:
            return await self._eraser.count(sorted(shopper.names))
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error

    async def remove(self, shopper: Shopper) -> int:
        """Remove them."""
        try:
            return await self._eraser.erase(sorted(shopper.names))
        except StoreUnavailable as error:
            raise Unavailable(str(error)) from error
