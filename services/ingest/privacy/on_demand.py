"""Privacy that is opened at its first request.

Feast takes seconds to import: a process that comes back after a crash must take in events before that. The import runs
beside the event loop; a caller of the first request waits for it. Knows nothing of what is asked for.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aisle.v1 import event_service_pb2 as messages

from features.shopper_digest import Digest
from services.ingest.privacy.places import Places

if TYPE_CHECKING:
    from services.ingest.privacy.requests import Privacy

_ROOT = "services.ingest.privacy.root"


class PrivacyOnDemand:
    """As Privacy. For one event loop."""

    def __init__(self, places: Places, digest: Digest, pseudonym_key: bytes | None, closing: AsyncExitStack) -> None:
        """Args: as by root.opened. closing: closes what the first request opens."""
        self._arguments, self._closing = (places, digest, pseudonym_key), closing
        self._opening = asyncio.Lock()
        self._privacy: Privacy | None = None

    async def purge_user(self, request: messages.PurgeUserRequest) -> messages.PurgeUserResponse:
        """Removes a shopper from every store."""
        return await (await self._opened()).purge_user(request)

    async def export_user(self, request: messages.ExportUserRequest) -> messages.ExportUserResponse:
        """A page of what is stored about a shopper."""
        return await (await self._opened()).export_user(request)

    async def set_opt_out(self, request: messages.SetOptOutRequest) -> messages.SetOptOutResponse:
        """Leaves a shopper out, or in again."""
        return await (await self._opened()).set_opt_out(request)

    async def _opened(self) -> "Privacy":
        async with self._opening:
            if self._privacy is None:
                root = await asyncio.to_thread(importlib.import_module, _ROOT)
                privacy: Privacy = await self._closing.enter_async_context(root.opened(*self._arguments))
                self._privacy = privacy
            return self._privacy


@asynccontextmanager
async def on_demand(places: Places, digest: Digest, pseudonym_key: bytes | None) -> AsyncIterator[PrivacyOnDemand]:
    """Privacy for the length of the block; what its first request opened is closed on leaving."""
    async with AsyncExitStack() as closing:
        yield PrivacyOnDemand(places, digest, pseudonym_key, closing)
