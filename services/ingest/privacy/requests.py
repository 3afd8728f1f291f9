"""What a shopper may ask for: to be forgotten, to be told, to be left out.

A purge, in this order:
1. The list of who is left out: what is computed anew from now on, from whatever data, is without the shopper's past.
2. The shopper's shards are taken from the updaters: nothing of the shopper is on its way into a store.
3. Streams, online rows and the log's files; then the shards are given back.
4. The other files, and the append-only files, which still held what was deleted.
5. All stores are looked at again, and one line goes to the audit log.
Whatever interrupts it, repeating the request ends it. Events that come in meanwhile are the shopper's next life; they
count as remaining, and a request once they have stopped proves that nothing is left.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aisle.v1 import event_service_pb2 as messages

from services.common.errors import NotServed, Unavailable
from services.common.limits import DEFAULT_TENANT
from services.common.streams import Client
from services.common.streams import Unavailable as StoreDoesNotAnswer
from services.common.validation import check
from services.ingest.privacy.append_only import rewrite
from services.ingest.privacy.audit import AuditLog
from services.ingest.privacy.disk import using
from services.ingest.privacy.export import Exports
from services.ingest.privacy.handover import Handover
from services.ingest.privacy.opt_outs import OptOuts
from services.ingest.privacy.personal_store import PersonalStore
from services.ingest.privacy.shopper import Shopper, Shoppers
from services.ingest.privacy.stream_store import StreamStore

logger = logging.getLogger(__name__)

_REWRITE_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What requests are answered with."""

    shoppers: Shoppers
    streams: StreamStore
    online: PersonalStore
    fed_by_updaters: Sequence[PersonalStore]
    """Files that updaters write."""
    others: Sequence[PersonalStore]
    """Files that jobs write, also while shoppers act. A purge waits for what is being written; a job that has read of a
    shopper before and writes afterwards must look at the list of step 1 again, as features/materialise.py does."""
    opt_outs: OptOuts
    handover: Handover
    exports: Exports
    audit: AuditLog
    client: Client
    """Of the Valkey that holds streams and online rows."""
    now: Callable[[], datetime]
    """The machine's clock."""


class Privacy:
    """Answers requests; one purge or opt-out at a time. For one event loop."""

    def __init__(self, parts: Parts) -> None:
        """Args: parts: real ones, from root.privacy_of."""
        self._parts = parts
        self._one_at_a_time = asyncio.Lock()

    async def purge_user(self, request: messages.PurgeUserRequest) -> messages.PurgeUserResponse:
        """Removes a shopper from every store.

        Raises:
            InvalidField, NotServed: the request is not as it must be.
            Unavailable: a store does not answer; to be repeated.
        """
        _check(request)
        parts, shopper = self._parts, self._parts.shoppers.of(request)
        async with _answering():
            if request.validate_only:
                counts = await self._counts(shopper)
                return _response(shopper, counts, counts)
            async with self._one_at_a_time:
                removed = await self._remove(shopper)
            remaining = await self._counts(shopper)
            clean_at = parts.now()
            await self._note("purge", shopper, removed=removed, remaining=remaining)
        response = _response(shopper, removed, remaining)
        response.purge_time.FromDatetime(clean_at)
        return response

    async def export_user(self, request: messages.ExportUserRequest) -> messages.ExportUserResponse:
        """A page of what is stored about a shopper.

        Raises:
            InvalidField, NotServed: the request is not as it must be.
            Unavailable: a store does not answer.
        """
        _check(request)
        shopper = self._parts.shoppers.of(request)
        async with _answering():
            page = await self._parts.exports.page(shopper, request.page_size, request.page_token)
            features = len(page.features) + len(page.visitor_features)
            await self._note("export", shopper, events=len(page.events), features=features)
        return page

    async def set_opt_out(self, request: messages.SetOptOutRequest) -> messages.SetOptOutResponse:
        """Leaves a shopper out, or in again.

        Raises:
            InvalidField, NotServed: the request is not as it must be.
            Unavailable: a store does not answer; to be repeated.
        """
        _check(request)
        parts, shopper = self._parts, self._parts.shoppers.of(request)
        async with _answering(), self._one_at_a_time:
            if request.opted_out:
                await parts.opt_outs.add(shopper)
                async with parts.handover.holding(await parts.streams.shards_of(shopper)):
                    removed = await _removed(shopper, (parts.streams, parts.online))
                await self._note("opt-out", shopper, removed=removed)
            elif await parts.opt_outs.drop(shopper, parts.now()):
                await self._note("opt-in", shopper)
        return messages.SetOptOutResponse(opted_out=request.opted_out)

    async def _remove(self, shopper: Shopper) -> dict[str, int]:
        parts = self._parts
        await parts.opt_outs.forget_past(shopper, parts.now())
        async with parts.handover.holding(await parts.streams.shards_of(shopper)):
            removed = await _removed(shopper, (parts.streams, parts.online, *parts.fed_by_updaters))
        removed |= await _removed(shopper, parts.others)
        await rewrite(parts.client, _REWRITE_SECONDS)
        return removed

    async def _counts(self, shopper: Shopper) -> dict[str, int]:
        parts = self._parts
        stores = (parts.streams, parts.online, *parts.fed_by_updaters, *parts.others)
        return {store.name: await store.count(shopper) for store in stores}

    async def _note(self, action: str, shopper: Shopper, **facts: object) -> None:
        audit = self._parts.audit
        with using(audit.path):
            await asyncio.to_thread(audit.append, self._parts.now(), action, shopper.digests, facts)


async def _removed(shopper: Shopper, stores: Sequence[PersonalStore]) -> dict[str, int]:
    return {store.name: await store.remove(shopper) for store in stores}


def _check(request: messages.PurgeUserRequest | messages.ExportUserRequest | messages.SetOptOutRequest) -> None:
    check(request)
    if request.tenant not in ("", DEFAULT_TENANT):
        raise NotServed("tenant")


def _response(shopper: Shopper, removed: dict[str, int], remaining: dict[str, int]) -> messages.PurgeUserResponse:
    stores = [
        messages.PurgedStore(name=name, removed_count=count, remaining_count=remaining[name])
        for name, count in removed.items()
    ]
    return messages.PurgeUserResponse(stores=stores, audit_hash=shopper.digests[0])


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """What a store, a file among them, cannot do now is said as the protocol says it, and logged."""
    try:
        yield
    except StoreDoesNotAnswer as error:
        logger.warning("a request about a shopper has to be repeated", extra={"reason": str(error)})
        raise Unavailable(f"a store does not answer: {error}") from error
